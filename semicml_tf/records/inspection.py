"""Overviews of a dataset or a shard, as text and as JSON values."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Mapping, Sequence

from semicml_tf.errors import UserError
from semicml_tf.labels import LabelDefinition
from semicml_tf.records import example_proto, tfrecord_file
from semicml_tf.records.check import CaseFacts, Checked
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.system import tables


def check_is_shard(path: pathlib.Path) -> None:
    """Checks from the first record that a file is a shard of this package.

    Raises:
        UserError: the file is no such shard, or cannot be read.
    """
    remedy = "Pass a folder made by python -m semicml_tf.convert, or one of its .tfrecord files"
    try:
        with open(path, "rb") as stream:
            start = stream.read(2)
            first = next(tfrecord_file.scan(stream), None)
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror or error})", path=path, remedy=remedy) from error
    if first is None:
        raise UserError("expected a shard, got an empty file", path=path, remedy=remedy)
    if start == b"\x1f\x8b":
        raise UserError("expected a shard, got a gzip file; shards are not zipped", path=path, remedy=remedy)
    if first.damage:
        if first.damage.at_header:
            problem = f"expected a TFRecord file, got something else, or its start is damaged ({first.damage})"
            raise UserError(problem, path=path, remedy=remedy)
        return  # a shard whose first record is damaged: the check reports the details
    try:
        features = sorted(example_proto.parse(first.content))
    except example_proto.NoExample as error:
        problem = "expected a shard, got a TFRecord file without tf.train.Examples"
        raise UserError(problem, path=path, remedy=remedy) from error
    if "contract_version" not in features:
        named = ", ".join(features[:8]) + (", ..." if len(features) > 8 else "")
        problem = f"expected a shard, got a TFRecord file of other tf.train.Examples (features {named or 'none'})"
        raise UserError(problem, path=path, remedy=remedy)


def of_dataset(info: DatasetInfo, checked: Sequence[Checked], made: Mapping) -> str:
    """The overview of a dataset.

    Args:
        info: the description of the dataset.
        checked: the shards that were read; () if none was read.
        made: how the dataset was made: command, source and versions.
    """
    contents = {"none": "the whole grid", "body": "the body's box of the grid"}
    lines = [f"{info.where}: dataset of contract version {info.contract_version}, data hash {info.data_hash[:12]}"]
    lines += [f"  {name:15s} {info.normalisation[name]} ({info.normalisation[name].unit})" for name in info.modalities]
    lines += [
        f"  grid            of {info.reference_modality}, spacing {_spacing(info.spacing_mm)}; "
        f"records hold {contents.get(info.crop, info.crop)}",
        f"  label           {_described(info.labels)}",
        f"  source          layout {info.layout}" + (f", {made['source']}" if made.get("source") else ""),
    ]
    if info.window is not None:
        lines.append(f"  window          {info.window} pixels, as planned")
    if made.get("command"):
        lines.append(f"  made by         {made['command']}")
    if made.get("versions"):
        lines.append(f"  versions        {', '.join(f'{name} {text}' for name, text in made['versions'].items())}")
    cases = [case for shard in checked for case in shard.cases]
    rows = []
    for name, entries in info.partitions.items():
        slices = [case.lesion_slices for case in entries if case.lesion_slices is not None]
        of_partition = [case for case in cases if case.partition == name]
        rows.append(
            [
                name,
                str(len(entries)),
                str(len({case.shard for case in entries})),
                _counts(info.modalities_of(case) for case in entries),
                str(sum(slices)) if slices else "-",
                _sum(case.label_voxels for case in of_partition),
                _sum(case.lesion_voxels for case in of_partition),
                _mb(sum(_bytes(info.root / shard) for shard in {case.shard for case in entries})),
            ]
        )
    head = ["partition", "cases", "shards", "modalities", "lesion slices", "label voxels", "drawn voxels", "MB"]
    return "\n".join(lines) + "\n" + _table(head, rows) + _ranges(cases) + _verdict(checked)


def of_shard(path: pathlib.Path, checked: Checked, *, beside: bool) -> str:
    """The overview of a single shard.

    Args:
        path: file of the shard.
        checked: the shard as it was read.
        beside: whether a dataset.json beside the shard names it.
    """
    lines = [
        f"{path}: shard{_versions(checked.cases)}, {_some(len(checked.cases), 'readable record')}, "
        f"{_mb(checked.bytes)} MB, SHA-256 {checked.sha256[:12]}"
    ]
    if not beside:
        lines.append("note: no dataset.json beside the shard names it, so hash and partition are not checked")
    return "\n".join(lines) + "\n" + _ranges(checked.cases) + _verdict([checked])


def list_of_cases(checked: Sequence[Checked]) -> str:
    """A table with one line per case that was read."""
    head = ["case", "partition", "record", "modalities", "shape", "spacing mm", "crop at", "native shape"]
    head += ["label slices", "voxels", "drawn ml", "range"]
    rows = [
        [
            case.case_id,
            case.partition or "-",
            f"{case.file}:{case.record}",
            "+".join(case.modalities),
            _by(case.shape),
            _spacing(case.spacing_mm, unit=""),
            ",".join(map(str, case.crop_offset)) if case.full_shape != case.shape else "-",
            _by(case.native_shape),
            *(
                "-" if value is None else f"{value:g}"
                for value in (case.label_slices, case.label_voxels, case.lesion_ml)
            ),
            ", ".join(f"{name} {low:g}..{high:g}" for name, (low, high) in case.ranges.items()),
        ]
        for shard in checked
        for case in shard.cases
    ]
    return _table(head, rows)


def list_of_entries(info: DatasetInfo, checked: Sequence[Checked]) -> str:
    """A table with one line per case, from its record or, if no record was read, from `dataset.json`."""
    if checked:
        return list_of_cases(checked)
    rows = [
        [
            case.case_id,
            name,
            f"{case.shard}:{case.index}",
            "+".join(info.modalities_of(case)),
            _by(case.shape),
            "-" if case.lesion_slices is None else str(case.lesion_slices),
        ]
        for name, members in info.partitions.items()
        for case in members
    ]
    return _table(["case", "partition", "record", "modalities", "shape", "label slices"], rows)


def _versions(cases: Sequence[CaseFacts]) -> str:
    """The contract versions of the records, as a part of a heading."""
    numbers = sorted({case.contract_version for case in cases})
    return f" of contract version {' and '.join(map(str, numbers))}" if numbers else ""


def _described(labels: LabelDefinition) -> str:
    return f"values {', '.join(map(str, labels.values))} are foreground" if labels.is_plain else labels.described()


def as_data(info: DatasetInfo) -> dict:
    """The description of a dataset as JSON values."""
    return {
        "contract_version": info.contract_version,
        "data_hash": info.data_hash,
        "modalities": list(info.modalities),
        "reference_modality": info.reference_modality,
        "spacing_mm": list(info.spacing_mm),
        "normalisation": {name: str(how) for name, how in info.normalisation.items()},
        **({"label_values": list(info.labels.values)} if info.labels.is_plain else {"labels": info.labels.to_json()}),
        "layout": info.layout,
        "crop": info.crop,
        "window": info.window,
        "partitions": {name: [case.case_id for case in members] for name, members in info.partitions.items()},
    }


def _ranges(cases: Sequence[CaseFacts]) -> str:
    """The ranges of the cases' shapes and spacings."""
    if not cases:
        return ""

    def between(values: Iterable[Sequence[float]], unit: str = "") -> str:
        texts = []
        for axis in zip(*values):
            low, high = f"{min(axis):.4g}", f"{max(axis):.4g}"
            texts.append(low if low == high else f"{low}..{high}")
        return " x ".join(texts) + unit

    lines = [
        f"  grids           {between(case.shape for case in cases)} voxels (slices, rows, columns) of "
        f"{between((case.spacing_mm for case in cases), ' mm')}",
        f"  patients' own   {between(case.native_shape for case in cases)} voxels of "
        f"{between((case.native_spacing_mm for case in cases), ' mm')}",
    ]
    cropped = [case for case in cases if case.full_shape != case.shape]
    if cropped:
        kept = sum(_product(case.shape) for case in cases) / sum(_product(case.full_shape) for case in cases)
        lines.append(f"  crop            {len(cropped)} of {len(cases)} cases, {kept:.0%} of the voxels kept")
    return "\n".join(lines) + "\n"


def _verdict(checked: Sequence[Checked]) -> str:
    if not checked:
        return "not checked: no record was read (--nocheck)\n"
    records = sum(len(shard.cases) for shard in checked)
    read = f"{_some(records, 'record')} in {_some(len(checked), 'shard')}"
    read += f", {_mb(sum(shard.bytes or 0 for shard in checked))} MB"
    slow = "" if tfrecord_file.CRC_IS_FAST else " (google-crc32c has no C code here: slow)"
    if any(shard.problems for shard in checked):
        return f"checked: {read}: NOT as they were written{slow}\n"
    return f"checked: {read}: every checksum, hash and feature is as it was written{slow}\n"


def _bytes(path: pathlib.Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _some(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _product(shape: Sequence[int]) -> int:
    first, second, third = shape
    return first * second * third


def _counts(kinds: Iterable[tuple[str, ...]]) -> str:
    counted: dict[str, int] = {}
    for kind in kinds:
        counted["+".join(kind)] = counted.get("+".join(kind), 0) + 1
    return ", ".join(name if len(counted) == 1 else f"{count} {name}" for name, count in counted.items()) or "-"


def _sum(values: Iterable[int | None]) -> str:
    known = [value for value in values if value is not None]
    return str(sum(known)) if known else "-"


def _mb(count: int) -> str:
    return f"{count / 1e6:.1f}" if count >= 1e5 else f"{count / 1e6:.3f}"


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _spacing(spacing_mm: Sequence[float], unit: str = " mm") -> str:
    if not any(spacing_mm):
        return "each case's own"
    return " x ".join(f"{value:g}" if value else "own" for value in spacing_mm) + unit


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "".join(f"  {line}\n" for line in tables.aligned([head, *rows]))
