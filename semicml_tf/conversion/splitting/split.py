"""Splits: the partition of each patient, its file `split.json`, and the cases of each partition.

A split names patients or cases. The name of a patient stands for all studies of the patient. All studies of a patient
have the same partition.
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
    f"Expected is {{PARTITION: [NAME, ...]}} of patients or cases, with the partitions {', '.join(NAMES)}; a drawn "
    f"split also has {', '.join(_DRAWN)} and hash"
)


@dataclasses.dataclass(frozen=True)
class Split(Mapping[str, tuple[str, ...]]):
    """A mapping from partitions, all of `NAMES`, to names of patients or cases; and how they were drawn.

    Attributes:
        names: sorted names of patients or cases, by partition.
        folds: validation patients of each fold; () without folds.
        fold: number of the validation fold, from 0.
        labelled_in_a_fold: number of labelled patients in the other folds; None = all.
        seed: seed of the draw; None if the split was not drawn.
        stratify: ``lesion_size`` if the split is stratified by lesion volume, else "".
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
        """The contents of `split.json`, with their hash; see `read`."""
        body: dict[str, Any] = {name: list(self.names[name]) for name in NAMES}
        if self.folds:
            body |= {
                "folds": [list(patients) for patients in self.folds],
                "fold": self.fold,
                "labelled_in_a_fold": self.labelled_in_a_fold,
            }
        if self.seed is not None:
            body["seed"] = self.seed
        if self.stratify:
            body["stratify"] = self.stratify
        # The hash comes first, so that a user can delete its line and the JSON stays valid.
        return {"hash": content_hash(body), **body}


def content_hash(body: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of the contents of a split file, independent of its formatting."""
    hashed = {key: value for key, value in body.items() if key != "hash"}
    return hashlib.sha256(json.dumps(hashed, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@dataclasses.dataclass(frozen=True)
class _Drawn:
    """The fields of a split file about its draw; see `Split`."""

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
    for partition, names in lists.items():
        twice = [name for name, count in collections.Counter(names).items() if count > 1]
        if twice:
            raise UserError(f"case {twice[0]} is twice in '{partition}'", path=source, remedy="Name it once")


def checked(
    split: Mapping[str, Any], *, cases: Sequence[CaseFiles] | None = None, source: str | os.PathLike | None = None
) -> Split:
    """A split from the contents of its file, with all partitions and sorted names.

    Args:
        split: names by partition, and optionally the other fields of `Split.to_json`. Partitions may be missing.
        cases: the existing cases, to check that all studies of a patient are in one partition; None = only names are
            compared.
        source: file of the split, for messages.

    Raises:
        UserError: a partition is unknown; a name is repeated, or a patient is in two partitions; all partitions are
            empty; the hash does not match; the folds are malformed.
    """
    json_files.of_value(split, Mapping[str, Any], what="a split", path=source, remedy=_REMEDY)
    for name in split:
        if name not in (*NAMES, *_DRAWN, "hash"):
            raise UserError(f"unknown partition '{name}'", path=source, remedy=_REMEDY)
    if "hash" in split and split["hash"] != content_hash(split):
        raise UserError(
            "its hash does not match its contents: it was edited",
            path=source,
            remedy="Restore the file, or delete its line 'hash' to accept the edit",
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
    for partition, names in lists.items():
        for name in names:
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
    fields = {name: value for name, value in split.items() if name not in NAMES}
    drawn = json_files.of_value(fields, _Drawn, what="a split", path=source, remedy=_REMEDY)
    _no_name_twice({f"folds[{number}]": names for number, names in enumerate(drawn.folds)}, source)
    names = [name for patients in drawn.folds for name in patients]
    if len(set(names)) != len(names) or set(split.get("test", ())) & set(names):
        raise UserError("a patient is in two folds, or in a fold and in 'test'", path=source, remedy="Draw them again")
    values = dataclasses.asdict(drawn) | {"folds": tuple(tuple(sorted(patients)) for patients in drawn.folds)}
    del values["hash"]
    return values


def read(path: str | os.PathLike) -> Split:
    """Reads a split from a JSON file.

    Raises:
        UserError: the file is missing or malformed; see `checked`.
    """
    remedy = "Pass --split=FILE.json, or --split_seed to draw one"
    content = json_files.load(path, what="a split", remedy=remedy, max_bytes=json_files.MAX_BYTES_OF_CASES)
    return checked(content, source=path)


def from_layout(cases: Sequence[CaseFiles], *, source: str | os.PathLike) -> Split:
    """The split in a manifest's column ``partition``. Cases without a partition are left out.

    Raises:
        UserError: a cell names no partition; see also `checked`.
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
    studies: dict[str, list[CaseFiles]] = {}
    for case in sorted(cases, key=lambda case: case.case_id):
        studies.setdefault(case.patient, []).append(case)
    return studies


def _cases_of(name: str, patients: Mapping[str, list[CaseFiles]], by_id: Mapping[str, CaseFiles], source):
    """The cases that a name stands for; [] if it is unknown."""
    studies, case = patients.get(name, []), by_id.get(name)
    if case is not None and studies and case.patient != name:
        raise UserError(
            f"'{name}' is a patient and also a case of another patient, {case.patient}",
            path=source,
            remedy="Name the cases instead",
        )
    return studies or ([case] if case else [])


def _homes(split: Split, cases: Sequence[CaseFiles], source: str | os.PathLike | None) -> dict[str, str]:
    """Partition (or ``excluded``) by case name. Single studies of a patient may be excluded.

    Raises:
        UserError: a patient is in two partitions, or a case is named twice.
    """
    patients, by_id = by_patient(cases), {case.case_id: case for case in cases}
    home: dict[str, str] = {}
    first_place: dict[str, tuple[str, str]] = {}  # partition and case by patient
    for partition in PARTITIONS:
        for name in split[partition]:
            for case in _cases_of(name, patients, by_id, source):
                first, study = first_place.setdefault(case.patient, (partition, case.case_id))
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
        for case in _cases_of(name, patients, by_id, source):
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
        split: the split.
        cases: the existing cases.
        source: the input, for messages.

    Returns:
        Cases by partition, sorted by name, without the excluded ones; and names of the cases that are not in the split.

    Raises:
        UserError: the split names a case without files, or a patient is in two partitions.
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
    """The split with the cases named `bad` excluded. A patient whose cases are all bad is excluded by name."""
    names = {partition: set(members) for partition, members in split.items()}
    for patient, studies in by_patient(cases).items():
        case_ids = {case.case_id for case in studies}
        excluded = case_ids & set(bad)
        if not excluded or not any(({patient} | case_ids) & names[partition] for partition in PARTITIONS):
            continue
        excluded = {patient} if excluded == case_ids else excluded
        for partition in PARTITIONS:
            names[partition] -= excluded | case_ids if patient in excluded else excluded
        names[EXCLUDED] |= excluded
    kept = {partition: tuple(sorted(names[partition])) for partition in NAMES}
    return dataclasses.replace(split, names=kept)
