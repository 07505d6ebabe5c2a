"""Shards of records: written in case order, read whole or one case at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from semicml_tf.errors import UserError
from semicml_tf.records import contract, tfrecord_file
from semicml_tf.records.dataset import CaseEntry, DatasetInfo
from semicml_tf.storage import cache, streaming
from semicml_tf.storage.digest import sha256

_REMEDY = "Convert the data again, or copy the folder anew"


def shard_name(partition: str, index: int, count: int) -> str:
    """File name of a shard, as TensorFlow's tools expect it."""
    return f"{partition}-{index:05d}-of-{count:05d}.tfrecord"


def read_cases(info: DatasetInfo, cases: Sequence[CaseEntry]) -> Iterator[contract.CaseRecord]:
    """Yields the records of `cases`, one in memory at a time, in the order given.

    Raises:
        UserError: a shard is missing, truncated or corrupt.
    """
    for case in cases:
        path = info.shard_path(case.shard)
        yield contract.decode(_read(path, case.index, streaming.open_binary if info.streamed else _open), path=path)


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


def check_shards(info: DatasetInfo, partitions: Sequence[str]) -> None:
    """Compares the bytes of the partitions' shards with the hashes of `dataset.json`.

    Of a dataset at a URL these shards, and no others, are fetched first; of a streamed one the store is asked.

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
