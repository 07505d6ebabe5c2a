"""Reads untrusted npz files: the size of an array is checked against the file before memory is allocated."""

from __future__ import annotations

import math
import os
import types
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import BinaryIO

import numpy as np

# Exceptions that a corrupt, truncated or hostile file raises.
BROKEN = (
    OSError, ValueError, KeyError, EOFError, RuntimeError, NotImplementedError, MemoryError, zipfile.BadZipFile,
    zlib.error,
)  # fmt: skip
# Limit for one array. The largest array of this package is a layer's weights.
MOST_BYTES = 1 << 31
_MOST_GROWTH = 1032  # largest ratio of deflate: unzipped bytes per zipped byte
_READ_HEADER = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class Arrays(Mapping[str, np.ndarray]):
    """The arrays of a file by name, read on access. Use it in a ``with`` block.

    Args:
        source: path of the file, or an open file.

    Raises:
        One of `BROKEN`, here and on access: the file is damaged, or an array has Python objects.
    """

    def __init__(self, source: str | os.PathLike | BinaryIO):
        self._zip = zipfile.ZipFile(source)
        self._members = {member.filename.removesuffix(".npy"): member for member in self._zip.infolist()}

    def __enter__(self) -> Arrays:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: types.TracebackType | None) -> None:
        self._zip.close()

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, name: str) -> np.ndarray:
        member = self._members[name]
        with self._zip.open(member) as stream:
            version = np.lib.format.read_magic(stream)
            if version not in _READ_HEADER:
                raise ValueError(f"array '{name}' has the unknown version {version}")
            shape, _, dtype = _READ_HEADER[version](stream)
        size = math.prod(shape) * dtype.itemsize
        if size > min(member.file_size, member.compress_size * _MOST_GROWTH, MOST_BYTES):
            raise ValueError(f"array '{name}' claims {size} bytes, more than the file has or may have")
        with self._zip.open(member) as stream:
            return np.lib.format.read_array(stream, allow_pickle=False)
