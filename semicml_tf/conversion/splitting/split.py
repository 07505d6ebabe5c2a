"""Who is in which partition: a value, its file, and the cases that it means. Always whole patients.

A split names patients or cases; the name of a patient stands for all its studies.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Literal

from semicml_tf.errors import UserError
from semicml_tf.files.case import CaseFiles
from semicml_tf.records.case_record import PARTITIONS
from semicml_tf.system import json_files
from semicml_tf.system.json_files import Count

EXCLUDED = "excluded"
NAMES = (*PARTITIONS, EXCLUDED)
FILE_NAME = "split.json"
LESION_SIZE = "lesion_size"

_DRAWN = ("folds", "fold", "labelled_in_a_fold", "seed", "stratify")
_REMEDY = (
    f"Expected is {{PARTITION: [NAME, ...]}} of patients or cases, with the partitions {', '.join(NAMES)}; where it "
    f"was drawn, also {', '.join(_DRAWN)} and hash"
)


@dataclasses.dataclass(frozen=True)
class Split(Mapping[str, tuple[str, ...]]):
    """Names by partition, as a mapping that holds all of `NAMES`; and how they were drawn.

    Attributes:
        names: of patients or cases, sorted, by partition.
        folds: patients in validation, by fold; () where there are no folds.
        fold: number of the fold whose patients are in validation, from 0.
        labelled_in_a_fold: patients of the other folds that are labelled; None = all.
        seed: of the draw; None where the split was given.
        stratify: ``lesion_size`` where partitions got about the same sizes of lesions, else "".
    """

    names: Mapping[str, tuple[str, ...]]
    folds: tuple[tuple[str, ...], ...] = ()
    fold: int | None = None
    labelled_in_a_fold: int | None = None
    seed: int | None = None
    stratify: str = ""

    def __getitem__(self, partition: str) -> tuple[str, ...]:
        return self.names[partition]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def to_json(self) -> dict[str, Any]:
        """The contents of `split.json`, with their hash. `read` is the way back."""
        body: dict[str, Any] = {name: list(self.names[name]) for name in NAMES}
        if self.folds:
            body |= {
                "folds": [list(held) for held in self.folds],
                "fold": self.fold,
                "labelled_in_a_fold": self.labelled_in_a_fold,
            }
        if self.seed is not None:
            body["seed"] = self.seed
        if self.stratify:
            body["stratify"] = self.stratify
        # First, so that its line can be deleted without mending a comma.
        return {"hash": content_hash(body), **body}


def content_hash(body: Mapping[str, Any]) -> str:
    """SHA-256 (hex) over the contents of a split file, however it is laid out."""
    held = {key: value for key, value in body.items() if key != "hash"}
    return hashlib.sha256(json.dumps(held, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@dataclasses.dataclass(frozen=True)
class _Drawn:
    """How a split file says that it was drawn; see `Split`."""

    seed: int | None = None
    stratify: Literal["", LESION_SIZE] = ""
    folds: tuple[tuple[str, ...], ...] = ()
    fold: Count | None = None
    labelled_in_a_fold: Count | None = None
    hash: str = ""

    def __post_init__(self):
        if (self.folds or self.fold is not None) and not (self.fold is not None and self.fold < len(self.folds)):
            raise ValueError("expected lists of names as 'folds' and the number of one of them as 'fold'")


def _no_name_twice(lists: Mapping[str, Any], source: str | os.PathLike | None) -> None:
    for name, held in lists.items():
        twice = [case for case, count in collections.Counter(held).items() if count > 1]
        if twice:
            raise UserError(f"case {twice[0]} is twice in '{name}'", path=source, remedy="Name it once")


def checked(
    split: Mapping[str, Any], *, cases: Sequence[CaseFiles] | None = None, source: str | os.PathLike | None = None
) -> Split:
    """A split from the contents of its file, with all partitions and sorted names.

    Args:
        split: names by partition, which may be left out; `Split.to_json` has more.
        cases: what there is on disk, to check that no patient is in two partitions through two studies; None = only
            names are compared.
        source: file that it comes from, for messages.

    Raises:
        UserError: an unknown partition; a name twice, or a patient in two partitions; nobody at all; a hash that does
            not match; folds that are no folds.
    """
    json_files.of_value(split, Mapping[str, Any], what="a split", path=source, remedy=_REMEDY)
    for name in split:
        if name not in (*NAMES, *_DRAWN, "hash"):
            raise UserError(f"unknown partition '{name}'", path=source, remedy=_REMEDY)
    if "hash" in split and split["hash"] != content_hash(split):
        raise UserError(
            "its hash does not match its contents: it was edited",
            path=source,
            remedy="Take the file as it was, or delete its line 'hash' to accept the edit",
        )
    lists = json_files.of_value(
        {name: split[name] for name in NAMES if name in split},
        Mapping[str, tuple[str, ...]],
        what="a split",
        path=source,
        remedy=_REMEDY,
    )
    _no_name_twice(lists, source)
    home: dict[str, str] = {}
    for partition, held in lists.items():
        for name in held:
            if name in home:
                raise UserError(
                    f"case {name} is in two partitions, '{home[name]}' and '{partition}'",
                    path=source,
                    remedy="Leave it in one of them: a patient must not be trained on and tested on",
                )
            home[name] = partition
    if all(partition == EXCLUDED for partition in home.values()):
        raise UserError("no case is in any partition", path=source, remedy=_REMEDY)
    made = Split({name: tuple(sorted(lists.get(name, ()))) for name in NAMES}, **_how_drawn(split, source))
    if cases is not None:
        _homes(made, cases, source)
    return made


def _how_drawn(split: Mapping[str, Any], source: str | os.PathLike | None) -> dict[str, Any]:
    held = {name: value for name, value in split.items() if name not in NAMES}
    drawn = json_files.of_value(held, _Drawn, what="a split", path=source, remedy=_REMEDY)
    _no_name_twice({f"folds[{number}]": names for number, names in enumerate(drawn.folds)}, source)
    names = [name for held in drawn.folds for name in held]
    if len(set(names)) != len(names) or set(split.get("test", ())) & set(names):
        raise UserError("a patient is in two folds, or in a fold and in 'test'", path=source, remedy="Draw them again")
    found = dataclasses.asdict(drawn) | {"folds": tuple(tuple(sorted(held)) for held in drawn.folds)}
    del found["hash"]
    return found


def read(path: str | os.PathLike) -> Split:
    """Reads a split from JSON.

    Raises:
        UserError: it is not there, or `checked` refuses it.
    """
    remedy = "Pass --split=FILE.json, or --split_seed to draw one"
    content = json_files.load(path, what="a split", remedy=remedy, max_bytes=json_files.MAX_BYTES_OF_CASES)
    return checked(content, source=path)


def from_layout(cases: Sequence[CaseFiles], *, source: str | os.PathLike) -> Split:
    """The split in a manifest's column ``partition``; cases without a partition are left out.

    Raises:
        UserError: a cell names no partition, or as `checked`.
    """
    split: dict[str, list[str]] = {}
    for case in cases:
        if case.partition is not None:
            if case.partition not in NAMES:
                raise UserError(
                    f"case {case.case_id} has the unknown partition '{case.partition}'",
                    path=source,
                    remedy=f"Correct the column 'partition'. Known are {', '.join(NAMES)}",
                )
            split.setdefault(case.partition, []).append(case.case_id)
    return checked(split, cases=cases, source=source)


def by_patient(cases: Sequence[CaseFiles]) -> dict[str, list[CaseFiles]]:
    """The cases of each patient, sorted by name."""
    held: dict[str, list[CaseFiles]] = {}
    for case in sorted(cases, key=lambda case: case.case_id):
        held.setdefault(case.patient, []).append(case)
    return held


def _meant(name: str, patients: Mapping[str, list[CaseFiles]], by_id: Mapping[str, CaseFiles], source):
    """The cases that a name stands for; none if it is unknown."""
    studies, case = patients.get(name, []), by_id.get(name)
    if case is not None and studies and case.patient != name:
        raise UserError(
            f"'{name}' is a patient and also a case of another patient, {case.patient}",
            path=source,
            remedy="Name the cases instead",
        )
    return studies or ([case] if case else [])


def _homes(split: Split, cases: Sequence[CaseFiles], source: str | os.PathLike | None) -> dict[str, str]:
    """Partition (or ``excluded``) by case name.

    Raises:
        UserError: a patient is in two partitions, or a case is named twice. A study may be excluded while
            its patient's others are not.
    """
    patients, by_id = by_patient(cases), {case.case_id: case for case in cases}
    home: dict[str, str] = {}
    told: dict[str, tuple[str, str]] = {}
    for partition in PARTITIONS:
        for name in split[partition]:
            for case in _meant(name, patients, by_id, source):
                first, study = told.setdefault(case.patient, (partition, case.case_id))
                if first != partition:
                    raise UserError(
                        f"patient {case.patient} is in two partitions, '{first}' (case {study}) and '{partition}' "
                        f"(case {case.case_id})",
                        path=source,
                        remedy="Leave all studies of a patient in one of them",
                    )
                if case.case_id in home:
                    raise UserError(
                        f"case {case.case_id} is twice in '{partition}', by its own name and by its patient's",
                        path=source,
                        remedy="Name it once",
                    )
                home[case.case_id] = partition
    for name in split[EXCLUDED]:
        for case in _meant(name, patients, by_id, source):
            if case.case_id in home and name == case.patient and len(patients[case.patient]) > 1:
                raise UserError(
                    f"patient {name} is excluded, but its case {case.case_id} is in '{home[case.case_id]}'",
                    path=source,
                    remedy="Exclude cases by their own names, or leave the patient out",
                )
            home[case.case_id] = EXCLUDED
    return home


def cases_by_partition(
    split: Split, cases: Sequence[CaseFiles], *, source: str | os.PathLike
) -> tuple[dict[str, list[CaseFiles]], list[str]]:
    """The files of every case in the split.

    Args:
        source: where the cases come from, for messages.

    Returns:
        Cases by partition, sorted by name, without the excluded; and the cases that the split leaves out.

    Raises:
        UserError: the split names nobody who has files here, or a patient is in two partitions.
    """
    known = {case.case_id for case in cases} | {case.patient for case in cases}
    for partition in PARTITIONS:
        for name in split[partition]:
            if name not in known:
                raise UserError(
                    f"the split puts case {name} into '{partition}', but it has no files here",
                    path=source,
                    remedy="Correct the split, or add the case's files",
                )
    home = _homes(split, cases, source)
    ordered = sorted(cases, key=lambda case: case.case_id)
    chosen = {name: [case for case in ordered if home.get(case.case_id) == name] for name in PARTITIONS}
    return chosen, [case.case_id for case in ordered if case.case_id not in home]


def without(split: Split, bad: Collection[str], cases: Sequence[CaseFiles]) -> Split:
    """The split with the cases named `bad` among the excluded; a patient whose every case is bad, as a whole."""
    names = {partition: set(held) for partition, held in split.items()}
    for patient, studies in by_patient(cases).items():
        own = {case.case_id for case in studies}
        gone = own & set(bad)
        if not gone or not any(({patient} | own) & names[partition] for partition in PARTITIONS):
            continue
        gone = {patient} if gone == own else gone
        for partition in PARTITIONS:
            names[partition] -= gone | own if patient in gone else gone
        names[EXCLUDED] |= gone
    kept = {partition: tuple(sorted(names[partition])) for partition in NAMES}
    return dataclasses.replace(split, names=kept)
