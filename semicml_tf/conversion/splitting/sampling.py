"""Random splits of patients from a seed, optionally stratified by lesion volume.

`draw_pool` draws the patients whose labels may be read. `assign` then gives each of these a partition. The order of
the draw is a hash of the seed and the patient's name, which no library version changes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from semicml_tf.conversion.splitting.folds import FoldPlan
from semicml_tf.conversion.splitting.split import LESION_SIZE, Split, by_patient, checked
from semicml_tf.errors import UserError
from semicml_tf.files.case import CaseFiles
from semicml_tf.records.case_record import LABELLED_PARTITIONS

# Test first, so that the test patients of a seed do not depend on the labelled fraction.
_IN_TURN = tuple(reversed(LABELLED_PARTITIONS))


@dataclasses.dataclass(frozen=True)
class Pool:
    """The patients whose labels may be read, before they have a partition.

    Attributes:
        candidates: these patients, in the order of the draw.
        unlabelled: patients whose labels are not read.
        counts: number of patients by partition: ``test``, ``validation`` and ``labelled``; with folds, only ``test``.
        only_test: candidates that lack a modality. They can only be test patients.
        seed: seed of the draw.
        plan: plan of the folds; None without folds.
    """

    candidates: tuple[str, ...]
    unlabelled: tuple[str, ...]
    counts: Mapping[str, int]
    only_test: tuple[str, ...]
    seed: int
    plan: FoldPlan | None = None


def rank(seed: int, key: Callable[[str], str] = str) -> Callable[[str], str]:
    """The sort key of the draw: maps a name to a hash of the seed and ``key(name)``."""
    return lambda name: hashlib.sha256(f"{seed}/{key(name)}".encode()).hexdigest()


def _counts(fractions: Mapping[str, float], labelled_cases: int | None, patients: int) -> dict[str, int]:
    """The number of patients by partition, out of `patients` with a label."""
    fractions = {name: share for name, share in fractions.items() if name != "labelled" or labelled_cases is None}
    if any(not 0 <= share <= 1 for share in fractions.values()) or sum(fractions.values()) > 1 + 1e-9:
        received = ", ".join(f"{name} {share:g}" for name, share in fractions.items())
        raise UserError(f"expected fractions from 0 to 1 that sum to 1 at most, got {received}")
    if labelled_cases is not None and labelled_cases < 0:
        raise UserError(f"expected --labelled_cases of 0 or more, got {labelled_cases}")
    counts = {name: max(math.floor(share * patients + 0.5), 1) if share > 0 else 0 for name, share in fractions.items()}
    if labelled_cases is not None:
        counts["labelled"] = labelled_cases
    return {name: counts.get(name, 0) for name in _IN_TURN}


def _in_order(
    able: Sequence[str],
    partial: set[str],
    counts: Mapping[str, int],
    *,
    patients: int,
    source: str | os.PathLike | None,
) -> list[str]:
    """The first patients of `able` that fill the partitions. Those in `partial` can only be test patients.

    Raises:
        UserError: there are too few patients.
    """
    whole = [name for name in able if name not in partial]
    others = sum(counts.values()) - counts["test"]
    # If few patients have all modalities, they are kept for the partitions that need all modalities.
    spare = set(whole[others:]) if len(whole) < others + counts["test"] else set(whole)
    tested = [name for name in able if name in partial or name in spare][: counts["test"]]
    rest = [name for name in whole if name not in set(tested)][:others]
    if len(tested) < counts["test"] or len(rest) < others:
        lacking = len(able) - len(whole)
        remedy = "Lower the fractions, or add label files"
        if not able:
            remedy = "Add label files: none exists under the names that the layout or the manifest gives"
        raise UserError(
            f"expected {sum(counts.values())} patients with a label to draw from, got {len(able)} of "
            f"{patients}{f', of which {lacking} lack a modality' if lacking else ''}",
            path=source,
            remedy=remedy,
        )
    return tested + rest


def draw_pool(
    cases: Sequence[CaseFiles],
    seed: int,
    fractions: Mapping[str, float | None],
    *,
    labelled_cases: int | None = None,
    folds: int | None = None,
    fold: int = 0,
    stratify: str = "",
    modalities: Sequence[str] = (),
    key: Callable[[str], str] = str,
    source: str | os.PathLike | None = None,
) -> Pool:
    """Draws the patients whose labels may be read. Opens no file.

    Args:
        cases: all cases. A patient with a study without a label file can only be unlabelled.
        seed: seed of the draw.
        fractions: fraction of the patients with a label, by partition. Numbers are rounded to whole patients; a
            fraction above 0 gives at least one patient. All other patients are unlabelled. A ``labelled`` of None or
            1 means all remaining patients with a label and all modalities. With folds, ``validation`` is ignored.
        labelled_cases: number of labelled patients, instead of their fraction.
        folds: number of folds of the patients with labels outside the test partition; None for no folds.
        fold: number of the fold whose patients are the validation partition, from 0.
        stratify: ``lesion_size`` if `assign` will get lesion volumes, else "".
        modalities: a patient without all of these modalities can only be a test patient or unlabelled. With (),
            modalities are not checked.
        key: returns the name that a patient is drawn by. For cases with pseudonyms this is the original name, so that
            pseudonyms do not change the draw.
        source: the input, for messages.

    Raises:
        UserError: the numbers do not fit, or too few patients have a label file.
    """
    patients = by_patient(cases)
    order = sorted(patients, key=rank(seed, key))
    able = [name for name in order if all(case.has_label() for case in patients[name])]
    partial = {name for name in order if any(case.held(modalities) != tuple(modalities) for case in patients[name])}
    everybody = labelled_cases is None and fractions.get("labelled") in (None, 1)
    dropped = {"labelled"} if everybody else set()
    if folds is not None:
        dropped.add("validation")
    fractions = {name: share for name, share in fractions.items() if name not in dropped}
    counts = _counts(fractions, labelled_cases, len(able))
    if everybody and folds is None:
        counts["labelled"] = 1  # the others follow
    chosen = _in_order(able, partial, counts, patients=len(patients), source=source)
    if everybody and folds is None:
        others = [name for name in able if name not in {*chosen, *partial}]
        chosen, counts["labelled"] = chosen + others, 1 + len(others)
    plan = None
    if folds is not None:
        plan = FoldPlan(folds, fold, None if everybody else counts["labelled"])
        tested = chosen[: counts["test"]]
        chosen = tested + [name for name in able if name not in {*tested, *partial}]
        counts = {"test": len(tested)}
        plan.check(len(chosen) - len(tested), stratified=bool(stratify))
    taken = set(chosen)
    return Pool(
        candidates=tuple(chosen),
        unlabelled=tuple(name for name in order if name not in taken),
        counts=counts,
        only_test=tuple(name for name in chosen if name in partial),
        seed=seed,
        plan=plan,
    )


def assign(pool: Pool, lesion_ml: Mapping[str, float] | None = None) -> Split:
    """Gives each candidate a partition.

    Args:
        pool: the result of `draw_pool`.
        lesion_ml: lesion volume in ml by patient, for a stratified split. Every partition then gets about the same
            distribution of volumes. A candidate without a volume counts as the smallest; its case cannot be read and
            is left out later. With None, the split is not stratified.

    Raises:
        ValueError: `lesion_ml` holds none of the candidates.
    """
    if lesion_ml is not None and pool.candidates and not set(lesion_ml) & set(pool.candidates):
        raise ValueError("expected the lesions of the pool's candidates")
    groups = _in_turn(pool) if lesion_ml is None else _stratified(pool, lesion_ml)
    split: dict[str, Any] = {"seed": pool.seed, "stratify": "" if lesion_ml is None else LESION_SIZE}
    if pool.plan is None:
        return checked(split | groups | {"unlabelled": pool.unlabelled})
    folds = [groups[_fold_name(number)] for number in range(pool.plan.number)]
    place = {name: number for number, name in enumerate(pool.candidates)}
    validation, labelled, spare = pool.plan.parts(folds, place.__getitem__)
    return checked(
        split
        | {
            "test": groups["test"],
            "validation": validation,
            "labelled": labelled,
            "unlabelled": [*pool.unlabelled, *spare],
            "folds": folds,
            "fold": pool.plan.fold,
            "labelled_in_a_fold": pool.plan.labelled,
        }
    )


def _fold_name(number: int) -> str:
    return f"fold {number}"


def _in_turn(pool: Pool) -> dict[str, list[str]]:
    """Fills one partition after the other. The folds take turns."""
    groups, rest = {}, list(pool.candidates)
    for name, count in pool.counts.items():
        groups[name], rest = rest[:count], rest[count:]
    folds = range(pool.plan.number if pool.plan else 0)
    return groups | {_fold_name(number): rest[number :: len(folds)] for number in folds}


def _stratified(pool: Pool, lesion_ml: Mapping[str, float]) -> dict[str, list[str]]:
    counts = {name: len(patients) for name, patients in _in_turn(pool).items()}
    return stratified_groups(pool.candidates, counts, lesion_ml, dict.fromkeys(pool.only_test, "test"))


def draw(cases: Sequence[CaseFiles], seed: int, fractions: Mapping[str, float], **options) -> Split:
    """A split that is not stratified; see `draw_pool` for the arguments."""
    return assign(draw_pool(cases, seed, fractions, **options))


def lesion_ml_by_patient(cases: Sequence[CaseFiles], lesion_ml: Mapping[str, float]) -> dict[str, float]:
    """The largest lesion volume of each patient's studies, in ml.

    Args:
        cases: cases of the patients.
        lesion_ml: lesion volume in ml by case name. A patient without any volume is left out of the result.
    """
    largest: dict[str, float] = {}
    for patient, studies in by_patient(cases).items():
        known = [lesion_ml[case.case_id] for case in studies if case.case_id in lesion_ml]
        if known:
            largest[patient] = max(known)
    return largest


def stratified_groups(
    candidates: Sequence[str], counts: Mapping[str, int], lesion_ml: Mapping[str, float], fixed: Mapping[str, str]
) -> dict[str, list[str]]:
    """Assigns candidates to groups of given sizes, stratified by lesion volume.

    Candidates are sorted by volume and cut into as many strata as the smallest group has members. Every group gets
    its share of each stratum.

    Args:
        candidates: patients in random order. This order is the only source of randomness.
        counts: size by group. The sizes sum to the number of candidates.
        lesion_ml: lesion volume in ml by candidate. A missing volume counts as 0.
        fixed: group by candidate, for candidates that can be in one group only.

    Returns:
        The candidates by group.
    """
    groups: dict[str, list[str]] = {name: [] for name in counts}
    for name, group in fixed.items():
        groups[group].append(name)
    place = {name: number for number, name in enumerate(candidates) if name not in fixed}
    by_size = sorted(place, key=lambda name: (lesion_ml.get(name, 0.0), place[name]))
    left = {group: count - len(groups[group]) for group, count in counts.items()}
    turns = _interleaved(left)
    strata = min((count for count in left.values() if count > 0), default=1)
    for number in range(strata):
        start, stop = (len(by_size) * edge // strata for edge in (number, number + 1))
        for name, group in zip(sorted(by_size[start:stop], key=place.__getitem__), turns[start:stop]):
            groups[group].append(name)
    return groups


def _interleaved(counts: Mapping[str, int]) -> list[str]:
    """The groups' names, each as often as the group has members, spread as evenly as possible."""
    total, given, turns = sum(counts.values()), dict.fromkeys(counts, 0), []
    for number in range(1, total + 1):
        # The group that is furthest behind its share is next.
        group = max(counts, key=lambda name: counts[name] * number - given[name] * total)
        given[group] += 1
        turns.append(group)
    return turns
