"""Which case is in which partition: given, or drawn by case from a seed. Always whole patients."""

from __future__ import annotations

import collections
import hashlib
import math
import os
from collections.abc import Mapping, Sequence

from semicml_tf import atomic
from semicml_tf.errors import UserError
from semicml_tf.files.case import CaseFiles
from semicml_tf.records.contract import LABELLED_PARTITIONS, PARTITIONS

EXCLUDED = "excluded"
NAMES = (*PARTITIONS, EXCLUDED)
FILE_NAME = "split.json"

Split = dict[str, tuple[str, ...]]


def checked(split: Mapping[str, Sequence[str]], *, source: str | os.PathLike | None = None) -> Split:
    """`split` with all partitions and sorted names.

    Args:
        split: case names by partition; partitions may be left out.
        source: file that it comes from, for messages.

    Raises:
        UserError: an unknown partition; a case twice, in one partition or in two; nobody at all.
    """
    remedy = f"Expected is {{PARTITION: [CASE, ...]}} with the partitions {', '.join(NAMES)}"
    if not isinstance(split, Mapping):
        raise UserError("expected a split", path=source, remedy=remedy)
    for name, cases in split.items():
        if name not in NAMES:
            raise UserError(f"unknown partition '{name}'", path=source, remedy=remedy)
        if not isinstance(cases, (list, tuple)) or not all(isinstance(case, str) for case in cases):
            raise UserError(f"partition '{name}' is no list of case names", path=source, remedy=remedy)
        twice = [case for case, count in collections.Counter(cases).items() if count > 1]
        if twice:
            raise UserError(f"case {twice[0]} is twice in '{name}'", path=source, remedy="Name it once")
    home: dict[str, str] = {}
    for name, cases in split.items():
        for case in cases:
            if case in home:
                raise UserError(
                    f"case {case} is in two partitions, '{home[case]}' and '{name}'",
                    path=source,
                    remedy="Leave it in one of them: a patient must not be trained on and tested on",
                )
            home[case] = name
    if all(name == EXCLUDED for name in home.values()):
        raise UserError("no case is in any partition", path=source, remedy=remedy)
    return {name: tuple(sorted(split.get(name, ()))) for name in NAMES}


def read(path: str | os.PathLike) -> Split:
    """Reads a split from JSON.

    Raises:
        UserError: it is not there, or `checked` refuses it.
    """
    content = atomic.read_json(path, what="a split", remedy="Pass --split=FILE.json, or --split_seed to draw one")
    return checked(content, source=path)


def from_layout(cases: Sequence[CaseFiles], *, source: str | os.PathLike) -> Split:
    """The split that the layout itself tells (a manifest's column ``partition``); cases without one are left out."""
    split: dict[str, list[str]] = {}
    for case in cases:
        if case.partition is not None:
            split.setdefault(case.partition, []).append(case.case_id)
    return checked(split, source=source)


def draw(cases: Sequence[CaseFiles], seed: int, fractions: Mapping[str, float]) -> Split:
    """Draws a split by case.

    Each case's place in the draw is a hash of the seed and its name: no library version changes it.

    Args:
        cases: with or without a label file; those without can only become unlabelled.
        seed: of the draw.
        fractions: of all cases, for each of the partitions with labels, rounded to whole cases, one at
            the least where above 0; all other cases become unlabelled.

    Raises:
        UserError: the fractions do not fit, or too few cases have a label file.
    """
    if any(not 0 <= share <= 1 for share in fractions.values()) or sum(fractions.values()) > 1 + 1e-9:
        told = ", ".join(f"{name} {share:g}" for name, share in fractions.items())
        raise UserError(f"expected fractions from 0 to 1 that sum to 1 at most, got {told}")
    order = sorted(cases, key=lambda case: hashlib.sha256(f"{seed}/{case.case_id}".encode()).hexdigest())
    able = [case.case_id for case in order if case.label is not None and not case.label.missing()]
    counts = {
        name: max(math.floor(share * len(cases) + 0.5), 1) if share > 0 else 0 for name, share in fractions.items()
    }
    if sum(counts.values()) > len(able):
        raise UserError(
            f"expected {sum(counts.values())} cases with a label to draw from, got {len(able)} of {len(cases)}",
            remedy="Lower the fractions, or add label files",
        )
    split: dict[str, list[str]] = {}
    # Test first: for one seed the test cases stay the same whatever fraction is labelled.
    for name in reversed(LABELLED_PARTITIONS):
        split[name], able = able[: counts.get(name, 0)], able[counts.get(name, 0) :]
    taken = {case for names in split.values() for case in names}
    split["unlabelled"] = [case.case_id for case in order if case.case_id not in taken]
    return checked(split)


def cases_by_partition(
    split: Split, cases: Sequence[CaseFiles], *, source: str | os.PathLike
) -> tuple[dict[str, list[CaseFiles]], list[str]]:
    """The files of every case in the split.

    Args:
        source: where the cases come from, for messages.

    Returns:
        Cases by partition, sorted by name, without the excluded; and the names that the split leaves out.

    Raises:
        UserError: the split names a case that has no files.
    """
    by_id = {case.case_id: case for case in cases}
    for name in PARTITIONS:
        for case in split[name]:
            if case not in by_id:
                raise UserError(
                    f"the split puts case {case} into '{name}', but it has no files here",
                    path=source,
                    remedy="Correct the split, or add the case's files",
                )
    named = {case for names in split.values() for case in names}
    chosen = {name: [by_id[case] for case in split[name]] for name in PARTITIONS}
    return chosen, sorted(set(by_id) - named)
