"""Reads shards of records, whole or one case at a time, and compares them with `dataset.json`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

import numpy as np

from semicml_tf.errors import UserError, doing
from semicml_tf.records import case_record, tfrecord_file
from semicml_tf.records.dataset import FILE_NAME, CaseEntry, DatasetInfo
from semicml_tf.storage import cache, streaming
from semicml_tf.system.digest import sha256

_REMEDY = "Convert the data again, or copy the folder again"


def shard_name(partition: str, index: int, count: int) -> str:
    """File name of a shard, as TensorFlow's tools expect it."""
    return f"{partition}-{index:05d}-of-{count:05d}.tfrecord"


def read_cases(info: DatasetInfo, cases: Sequence[CaseEntry]) -> Iterator[case_record.CaseRecord]:
    """Yields the records of `cases`, one in memory at a time, in the order given.

    Raises:
        UserError: a shard is missing, truncated or corrupt, or a record is not what `dataset.json` says.
    """
    partition_of = {entry: name for name, entries in info.partitions.items() for entry in entries}
    for case in cases:
        with doing(f"reading case {case.case_id}"):
            record = _read_case(info, case, partition_of[case])
        yield record


def read_content(info: DatasetInfo, case: CaseEntry) -> bytes:
    """The serialised record of a case, as conversion wrote it.

    Raises:
        UserError: its shard is missing, truncated or corrupt.
    """
    return _read(info.shard_path(case.shard), case.index, streaming.open_binary if info.streamed else _open)


def _read_case(info: DatasetInfo, case: CaseEntry, partition: str) -> case_record.CaseRecord:
    path, content = info.shard_path(case.shard), read_content(info, case)
    try:
        record = case_record.decode(content)
        for problem in (*problems_in(record), *problems_with_entry(record, case, partition, info)):
            raise UserError(problem, remedy=_REMEDY)
    except UserError as error:
        problem = f"record {case.index} (case {case.case_id}): {error.problem}"
        raise UserError(problem, path=path, remedy=error.remedy) from error
    return record


def problems_in(record: case_record.CaseRecord) -> Iterator[str]:
    """Problems of a record, without regard to `dataset.json`."""
    for name, image in record.images.items():
        # All exponent bits of a float16 are 1 in NaN and infinity. NumPy's isfinite is slower: it converts every value.
        if np.any((image.view(np.uint16) & 0x7C00) == 0x7C00):
            yield f"image '{name}' holds NaN or infinite values"


def problems_with_entry(
    record: case_record.CaseRecord, entry: CaseEntry, partition: str, info: DatasetInfo
) -> Iterator[str]:
    """Differences between a record and its entry in `dataset.json`."""
    if record.case_id != entry.case_id:
        yield f"{FILE_NAME} says that this is case {entry.case_id}"
        return
    if record.grid.shape != entry.shape:
        yield f"its shape is {record.grid.shape}, but {FILE_NAME} says {entry.shape}"
    if (record.labels.names, record.labels.activation) != (info.labels.names, info.labels.activation):
        yield f"its labels are {record.labels.described()}, but {FILE_NAME} says {info.labels.described()}"
        return
    expected = set(info.modalities_of(entry))
    if set(record.images) != expected:
        yield f"it holds {sorted(record.images)}, but {FILE_NAME} says {sorted(expected)}"
    may_be_labelled = partition in case_record.LABELLED_PARTITIONS
    if record.label is not None and not may_be_labelled:
        yield f"it has a label, although it is in the partition '{partition}'"
    if record.label is None and may_be_labelled:
        yield f"it has no label, although it is in the partition '{partition}'"
    if record.label is not None and may_be_labelled:
        slices = int(record.labels.any(record.label).any(axis=(1, 2)).sum())
        if slices != entry.lesion_slices:
            yield f"{slices} slices of its label have a lesion, but {FILE_NAME} says {entry.lesion_slices}"
        for name, expected_slices in entry.class_slices.items():
            slices = int(record.labels.mask(record.label, name).any(axis=(1, 2)).sum())
            if slices != expected_slices:
                yield f"{slices} slices of its label have {name}, but {FILE_NAME} says {expected_slices}"


def _open(path: str) -> BinaryIO:
    return open(path, "rb")


def _read(path: str, index: int, open_binary: Callable[[str], BinaryIO]) -> bytes:
    try:
        with open_binary(path) as stream:
            return tfrecord_file.read_one(stream, index)
    except FileNotFoundError as error:
        raise UserError("this shard is missing", path=path, remedy=_REMEDY) from error
    except OSError as error:
        raise UserError(f"this shard cannot be read ({error.strerror or error})", path=path, remedy=_REMEDY) from error
    except tfrecord_file.Damage as error:
        raise UserError(f"this shard is truncated or corrupt ({error})", path=path, remedy=_REMEDY) from error
    except tfrecord_file.TooShort as error:
        raise UserError(f"this shard ends before its record {index}", path=path, remedy=_REMEDY) from error


def check_records(info: DatasetInfo, partitions: Sequence[str]) -> None:
    """Reads and checks every record of the partitions, because TensorFlow's reader does not check them.

    Raises:
        UserError: see `read_cases`. The error names the shard and the case.
    """
    cases = [case for partition in partitions for case in info.partitions.get(partition, ())]
    for _ in read_cases(info, cases):
        pass


def check_shards(info: DatasetInfo, partitions: Sequence[str]) -> None:
    """Compares the bytes of the partitions' shards with the hashes of `dataset.json`.

    Shards at a URL are fetched first. Shards that are streamed are checked by `streaming.check`.

    Raises:
        UserError: a shard is missing or its bytes are not those that conversion wrote.
    """
    names = sorted({case.shard for partition in partitions for case in info.partitions.get(partition, ())})
    if info.url:
        wanted = {name: info.shard_sha256.get(name, "") for name in names}
        if info.streamed:
            streaming.check(info.url, wanted)
        else:
            cache.fetch(info.url, wanted, info.root)
            info.save(info.root)  # so that the folder is a dataset by itself
        return
    for name in names:
        path = info.root / name
        if not path.is_file():
            raise UserError("this shard is missing", path=path, remedy=_REMEDY)
        if sha256(path) != info.shard_sha256.get(name):
            raise UserError(
                "this shard is truncated or corrupt: its bytes are not those that conversion wrote",
                path=path,
                remedy=_REMEDY,
            )
