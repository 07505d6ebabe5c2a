"""Reads shards completely: lists their cases, and reports every difference from what conversion wrote."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.geometry.grid import Grid
from semicml_tf.records import case_record, shards, tfrecord_file
from semicml_tf.records.dataset import FILE_NAME, DatasetInfo


@dataclasses.dataclass(frozen=True)
class Problem:
    """A difference from what conversion wrote.

    Attributes:
        file: name in the dataset's folder.
        problem: what is wrong.
        record: number of the record in the file; None if the problem concerns the whole file.
        offset: byte at which that record begins.
        case: name of the case; None if unknown.
    """

    file: str
    problem: str
    record: int | None = None
    offset: int | None = None
    case: str | None = None

    def __str__(self) -> str:
        place = "" if self.record is None else f" record {self.record}"
        place += "" if self.offset is None else f" at byte {self.offset}"
        place += "" if self.case is None else f" (case {self.case})"
        return f"{self.file}{place}: {self.problem}"


@dataclasses.dataclass(frozen=True)
class CaseFacts:
    """The content of a record, in numbers.

    Attributes:
        partition: partition in `dataset.json`; None without `dataset.json`.
        bytes: size of the record's content.
        shape, spacing_mm: of the record's grid: slices, rows, columns.
        crop_offset, full_shape: place of the record's box in the network's whole grid, and the shape of that grid.
        native_shape, native_spacing_mm: of the patient's own grid, in its own index order.
        ranges: by modality, the lowest and highest value in native units, within the normalisation's window.
        constants: by modality, the constants of its normalisation.
        label_voxels, label_slices: on the record's grid; None if the case is unlabelled.
        lesion_voxels, lesion_ml: on the patient's own grid; None if the case is unlabelled.
    """

    case_id: str
    partition: str | None
    file: str
    record: int
    bytes: int
    modalities: tuple[str, ...]
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, ...]
    crop_offset: tuple[int, int, int]
    full_shape: tuple[int, int, int]
    native_shape: tuple[int, int, int]
    native_spacing_mm: tuple[float, ...]
    ranges: dict[str, tuple[float, float]]
    constants: dict[str, dict[str, float]]
    label_voxels: int | None
    label_slices: int | None
    lesion_voxels: int | None
    lesion_ml: float | None
    contract_version: int


@dataclasses.dataclass(frozen=True)
class Checked:
    """The result of checking one shard.

    Attributes:
        file: name in the dataset's folder.
        bytes: size of the file; None if it is missing.
        sha256: hash of the file; None if it is missing.
        cases: the records that could be read.
        problems: all problems of the file and its records.
    """

    file: str
    bytes: int | None
    sha256: str | None
    cases: tuple[CaseFacts, ...]
    problems: tuple[Problem, ...]


def _spacing(grid: Grid) -> tuple[float, ...]:
    return tuple(round(value, 4) for value in grid.spacing_mm)


def _facts(record: case_record.CaseRecord, file: str, framed: tfrecord_file.Record, partition: str | None) -> CaseFacts:
    ranges = {}
    for name, image in record.images.items():
        constants = record.constants[name]
        low, high = (float(value) * constants.scale + constants.center for value in (image.min(), image.max()))
        ranges[name] = (round(max(low, constants.low), 4), round(min(high, constants.high), 4))
    labelled = record.label is not None
    label = record.labels.any(record.label) if labelled else None
    native_voxels = int(np.count_nonzero(record.labels.any(record.native_label))) if labelled else None
    return CaseFacts(
        case_id=record.case_id,
        partition=partition,
        file=file,
        record=framed.index,
        bytes=len(framed.content),
        modalities=tuple(record.images),
        shape=record.grid.shape,
        spacing_mm=_spacing(record.grid),
        crop_offset=record.crop_offset,
        full_shape=record.full_shape,
        native_shape=record.native_grid.shape,
        native_spacing_mm=_spacing(record.native_grid),
        ranges=ranges,
        constants={name: dataclasses.asdict(value) for name, value in record.constants.items()},
        label_voxels=int(np.count_nonzero(label)) if labelled else None,
        label_slices=int(label.any(axis=(1, 2)).sum()) if labelled else None,
        lesion_voxels=native_voxels,
        lesion_ml=round(native_voxels * record.native_grid.voxel_volume_ml, 3) if labelled else None,
        contract_version=record.contract_version,
    )


def check_shard(
    path: pathlib.Path,
    info: DatasetInfo | None = None,
    *,
    progress: Callable[[int], object] = lambda count: None,
) -> Checked:
    """Checks one shard: the checksums and features of every record and, given `info`, the hash and the entries.

    Args:
        path: file of the shard.
        info: the dataset of the shard.
        progress: called with the bytes read since the last call.

    Raises:
        UserError: the file cannot be opened.
    """
    name, problems, cases, entries = path.name, [], [], {}
    if info is not None:
        entries = {
            case.index: (partition, case)
            for partition, members in info.partitions.items()
            for case in members
            if case.shard == name
        }
        if not path.is_file():
            missing = ", ".join(case.case_id for _, case in entries.values())
            return Checked(name, None, None, (), (Problem(name, f"this shard is missing, with the cases {missing}"),))
    digest, count = shards.sha256(path), 0
    if info is not None and digest != info.shard_sha256.get(name):
        problems.append(Problem(name, f"its SHA-256 is {digest[:12]}..., but {FILE_NAME} says {_expected(info, name)}"))
    with open(path, "rb") as stream:
        for framed in tfrecord_file.scan(stream):
            partition, entry = entries.get(framed.index, (None, None))
            place = {"record": framed.index, "offset": framed.offset, "case": entry and entry.case_id}
            count = framed.index + 1
            if framed.damage:
                problems.append(Problem(name, framed.damage.reason, **place))
                continue
            progress(len(framed.content))
            try:
                record = case_record.decode(framed.content)
            except UserError as error:
                problems.append(Problem(name, error.problem, **place))
                continue
            place["case"] = record.case_id
            wrong = list(shards.problems_in(record))
            if entry is not None:
                wrong += shards.problems_with_entry(record, entry, partition, info)
            elif info is not None:
                wrong.append(f"{FILE_NAME} does not list it")
            problems += [Problem(name, text, **place) for text in wrong]
            cases.append(_facts(record, name, framed, partition))
    problems += [
        Problem(name, "it is missing: the shard ends before it", record=index, case=entry.case_id)
        for index, (_, entry) in sorted(entries.items())
        if index >= count
    ]
    return Checked(name, path.stat().st_size, digest, tuple(cases), tuple(problems))


def _expected(info: DatasetInfo, name: str) -> str:
    return f"{info.shard_sha256[name][:12]}..." if name in info.shard_sha256 else "nothing about it"


def shard_names(info: DatasetInfo) -> list[str]:
    """The names of all shards in `dataset.json`, in the order of the partitions."""
    names = [case.shard for members in info.partitions.values() for case in members]
    return list(dict.fromkeys([*names, *sorted(info.shard_sha256)]))


def check_entries(info: DatasetInfo) -> list[Problem]:
    """Problems within `dataset.json`: a case listed twice, or two cases in one place."""
    problems, places, names = [], {}, {}
    for partition, members in info.partitions.items():
        for case in members:
            for kind, key, seen in (("case", case.case_id, names), ("place", (case.shard, case.index), places)):
                if key in seen:
                    text = f"one {kind} is listed twice, in the partitions '{seen[key]}' and '{partition}'"
                    problems.append(Problem(FILE_NAME, text, case=case.case_id))
                seen.setdefault(key, partition)
    return problems
