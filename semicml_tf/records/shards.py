"""Shards of records: written in case order, read whole or one case at a time."""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Iterator, Sequence

from semicml_tf.errors import UserError
from semicml_tf.records import contract, tfrecord_file
from semicml_tf.records.dataset import CaseEntry, DatasetInfo

_REMEDY = "Convert the data again, or copy the folder anew"


def shard_name(partition: str, index: int, count: int) -> str:
    """File name of a shard, as TensorFlow's tools expect it."""
    return f"{partition}-{index:05d}-of-{count:05d}.tfrecord"


def sha256(path: pathlib.Path) -> str:
    """Hex digest of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(stream)


def _digest(stream) -> str:  # Python 3.10 has no file_digest.
    digest = hashlib.sha256()
    while block := stream.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def read_cases(info: DatasetInfo, cases: Sequence[CaseEntry]) -> Iterator[contract.CaseRecord]:
    """Yields the records of `cases`, one in memory at a time, in the order given.

    Raises:
        UserError: a shard is missing, truncated or corrupt.
    """
    for case in cases:
        yield contract.decode(_read(info.root / case.shard, case.index), path=str(info.root / case.shard))


def _read(path: pathlib.Path, index: int) -> bytes:
    try:
        with open(path, "rb") as stream:
            return tfrecord_file.read_one(stream, index)
    except FileNotFoundError as error:
        raise UserError("this shard is missing", path=path, remedy=_REMEDY) from error
    except OSError as error:
        raise UserError(f"this shard cannot be read ({error.strerror or error})", path=path, remedy=_REMEDY) from error
    except tfrecord_file.Damage as error:
        raise UserError(f"this shard is truncated or corrupt ({error})", path=path, remedy=_REMEDY) from error
    except tfrecord_file.TooShort as error:
        raise UserError(f"this shard ends before its record {index}", path=path, remedy=_REMEDY) from error


def check_shards(info: DatasetInfo, partitions: Sequence[str]) -> None:
    """Compares the bytes of the partitions' shards with the hashes of `dataset.json`.

    Raises:
        UserError: a shard is missing or its bytes are not those that conversion wrote.
    """
    for name in sorted({case.shard for partition in partitions for case in info.partitions.get(partition, ())}):
        path = info.root / name
        if not path.is_file():
            raise UserError("this shard is missing", path=path, remedy=_REMEDY)
        if sha256(path) != info.shard_sha256.get(name):
            raise UserError(
                "this shard is truncated or corrupt: its bytes are not those that conversion wrote",
                path=path,
                remedy=_REMEDY,
            )
