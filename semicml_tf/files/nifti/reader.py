"""Reads and checks NIfTI-1 and NIfTI-2 files.

Voxels are read block by block. Reading needs a few megabytes of memory in addition to the result.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.files.nifti import header as nifti_header
from semicml_tf.files.nifti.gunzip import MOST_GROWTH, PlainBytes, unreadable
from semicml_tf.files.nifti.header import Header
from semicml_tf.geometry.grid import Grid
from semicml_tf.system import digest

# Default limit for the voxels of a volume. Larger volumes are refused before memory is allocated.
MOST_VOXELS = 1 << 30
_BEHIND = 1 << 20  # bytes that may follow the last voxel
_BLOCK = 1 << 20  # bytes; a multiple of every voxel's size
_ROUNDING = 1e-3  # a mask of 0 and 255 with scl_slope 1/255 in float32 is not quite 0 and 1


def read_volume(
    path: str | os.PathLike, *, channel: int | None = None, most_voxels: int = MOST_VOXELS
) -> tuple[np.ndarray, Grid]:
    """Reads an image in native units (scl_slope and scl_inter applied).

    Args:
        path: path of the file, zipped or not. The ending of its name does not matter.
        channel: number of a volume of a 4-D file; None for a 3-D file.
        most_voxels: larger volumes are refused.

    Returns:
        float32 values in the file's own index order, and their grid (sform, else qform).

    Raises:
        UserError: the file is missing, empty, truncated or no NIfTI file; it is not 3-D, or has NaN or infinite voxels;
            it has no orientation or a singular affine; it has more voxels than `most_voxels`, or than memory allows.
    """
    with PlainBytes(path) as stream:
        header, start = _header(stream, path, channel)
        volume = _empty(stream, header, np.float32, most_voxels, path)
        bad = done = 0
        for block in _blocks(stream, start, header, path):
            part = volume[done : done + block.size]
            done += block.size
            with np.errstate(over="ignore"):  # overflows become infinite, and are reported below
                part[:] = _scaled(block, header)
            if block.dtype.kind == "f" or _is_scaled(header):
                bad += part.size - int(np.count_nonzero(np.isfinite(part)))
    _check_finite(bad, volume.size, path)
    return volume.reshape(header.grid.shape, order="F"), header.grid


def read_label(
    path: str | os.PathLike, *, channel: int | None = None, most_voxels: int = MOST_VOXELS
) -> tuple[np.ndarray, Grid]:
    """Reads a label map. Arguments as in `read_volume`.

    Returns:
        int32 values in the file's own index order, and their grid.

    Raises:
        UserError: as in `read_volume`, or the values are no integers.
    """
    with PlainBytes(path) as stream:
        header, start = _header(stream, path, channel)
        label = _empty(stream, header, np.int32, most_voxels, path)
        example = None
        bad = done = 0
        for block in _blocks(stream, start, header, path):
            values = _scaled(block, header)
            part = label[done : done + block.size]
            done += block.size
            with np.errstate(invalid="ignore"):
                part[:] = np.rint(values) if values.dtype.kind == "f" else values
            if values.dtype.kind == "f":
                bad += values.size - int(np.count_nonzero(np.isfinite(values)))
            if example is None:
                example = _first_strange(part, values)
    _check_finite(bad, label.size, path)
    if example is not None:
        raise UserError(
            f"expected a label map of whole numbers, got values such as {example:g}",
            path=path,
            remedy="Resample label maps with nearest neighbour, and check that this file is one",
        )
    return label.reshape(header.grid.shape, order="F"), header.grid


def read_grid(path: str | os.PathLike, *, channel: int | None = None) -> Grid:
    """The grid of a file, from its header alone. `path` and `channel` as in `read_volume`.

    Raises:
        UserError: the header is unusable; see `header.parse`.
    """
    return read_header(path, channel=channel).grid


def read_header(path: str | os.PathLike, *, channel: int | None = None) -> Header:
    """The checked header of a file. Arguments and errors as in `read_grid`."""
    with PlainBytes(path) as stream:
        return _header(stream, path, channel)[0]


def sha256(path: str | os.PathLike) -> str:
    """SHA-256 (hex) of the file's bytes as they are stored.

    Raises:
        UserError: the file is missing or cannot be read.
    """
    try:
        return digest.sha256(path)
    except OSError as error:
        raise unreadable(path, error) from error


def _header(stream: PlainBytes, path: str | os.PathLike, channel: int | None) -> tuple[Header, bytes]:
    """The header, and the bytes that were read for it."""
    start = stream.read(nifti_header.BYTES)
    if not start:
        raise UserError("the file is empty", path=path, remedy="Copy or download it again")
    return nifti_header.parse(start, path, channel=channel), start


def check_voxels(shape: tuple[int, int, int], most_voxels: int, path: str | os.PathLike) -> None:
    """Raises UserError if a volume of this shape has too many voxels."""
    voxels = math.prod(shape)
    if voxels > most_voxels:
        raise UserError(
            f"expected at most {most_voxels} voxels, got {voxels} of shape {shape}",
            path=path,
            remedy="Crop or resample the volume, or raise --max_voxels if there is enough memory",
        )


def _empty(stream: PlainBytes, header: Header, dtype: type, most_voxels: int, path: str | os.PathLike) -> np.ndarray:
    """Allocates a 1-D array for the volume, after a check of its size: a damaged header can contain any shape."""
    voxels = math.prod(header.grid.shape)
    if header.offset + voxels * header.dtype.itemsize > stream.stored_size * (MOST_GROWTH if stream.zipped else 1):
        raise _too_short(path)
    check_voxels(header.grid.shape, most_voxels, path)
    if not stream.zipped and stream.stored_size > header.end + _BEHIND:
        raise _too_long(path)
    try:
        return np.empty(voxels, dtype)
    except MemoryError as error:
        gigabytes = voxels * np.dtype(dtype).itemsize / 1e9
        raise UserError(
            f"there is not enough memory for {gigabytes:.1f} GB of voxels, of shape {header.grid.shape}",
            path=path,
            remedy="Crop or resample the volume, or give the process more memory",
        ) from error


def _blocks(stream: PlainBytes, start: bytes, header: Header, path: str | os.PathLike) -> Iterator[np.ndarray]:
    """Yields the stored numbers in order, as 1-D arrays that are valid until the next iteration."""
    left = math.prod(header.grid.shape) * header.dtype.itemsize
    buffer = memoryview(bytearray(min(_BLOCK, left)))
    # The voxels of a NIfTI-1 file usually begin before the length of a NIfTI-2 header, which `start` has.
    early = start[header.offset : header.offset + left]
    stream.skip(max(header.offset - len(start), 0))
    while left:
        view = buffer[: min(len(buffer), left)]
        view[: len(early)] = early
        if stream.readinto(view[len(early) :]) < len(view) - len(early):
            raise _too_short(path)
        early = b""
        left -= len(view)
        yield np.frombuffer(view, header.dtype)
    # Unzips a limited number of further bytes, to check the checksum at the end of a gzip file.
    rest = header.end - header.offset - math.prod(header.grid.shape) * header.dtype.itemsize
    if not stream.finish(rest + _BEHIND):
        raise _too_long(path)


def _too_short(path: str | os.PathLike) -> UserError:
    return UserError("the file ends before its last voxel", path=path, remedy="Copy or download it again")


def _too_long(path: str | os.PathLike) -> UserError:
    return UserError(
        f"more than {_BEHIND} bytes follow its last voxel, so the shape in its header is too small",
        path=path,
        remedy="Copy or write the file again",
    )


def _is_scaled(header: Header) -> bool:
    return header.slope != 1 or header.inter != 0


def _scaled(block: np.ndarray, header: Header) -> np.ndarray:
    """The block in native units: float64 if there is a scale, else as stored."""
    return block * np.float64(header.slope) + np.float64(header.inter) if _is_scaled(header) else block


def _first_strange(label: np.ndarray, values: np.ndarray) -> float | int | None:
    """The first finite value that differs from its integer in `label` by more than rounding; None if there is none."""
    # Integers are compared exactly, because int32 cannot represent all of them.
    differ = np.abs(values - label) > _ROUNDING if values.dtype.kind == "f" else values != label
    if not differ.any():
        return None
    strange = values[differ]
    strange = strange[np.isfinite(strange)]
    return strange[0] if strange.size else None


def _check_finite(bad: int, size: int, path: str | os.PathLike) -> None:
    if bad:
        raise UserError(
            f"{bad} of {size} voxels are NaN or infinite",
            code="not_finite",
            path=path,
            remedy="Replace them by the value of air or background, and check how the file was made",
        )
