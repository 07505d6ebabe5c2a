"""NIfTI-1 and NIfTI-2 files, read whole and checked before anything is computed from them."""

from __future__ import annotations

import gzip
import os
import struct
import zlib

import nibabel
import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.geometry.grid import Grid

_HEADER_BYTES = 540  # of NIfTI-2, the longer of the two


def read_volume(path: str | os.PathLike) -> tuple[np.ndarray, Grid]:
    """Reads an image in native units (scl_slope and scl_inter applied).

    Returns:
        float32 values in the file's own index order, and their grid (sform, else qform).

    Raises:
        UserError: missing, empty, truncated or no NIfTI file; not 3-D; NaN or infinite voxels;
            no orientation, or an affine that cannot be inverted.
    """
    image, grid = _load(path)
    return _finite(_voxels(image, path, np.float32), path), grid


def read_label(path: str | os.PathLike) -> tuple[np.ndarray, Grid]:
    """Reads a label map.

    Returns:
        int32 values in the file's own index order, and their grid.

    Raises:
        UserError: as `read_volume`; or values that are no integers.
    """
    image, grid = _load(path)
    values = _finite(_voxels(image, path, None), path)
    rounded = np.round(values)
    if not np.array_equal(rounded, values):
        example = float(values[rounded != values].flat[0])
        raise UserError(
            f"expected a label map of whole numbers, got values such as {example:g}",
            path=path,
            remedy="Resample label maps with nearest neighbour, and check that this file is one",
        )
    return rounded.astype(np.int32), grid


def read_grid(path: str | os.PathLike) -> Grid:
    """The grid of a file, from its header alone.

    Raises:
        UserError: as `read_volume`, as far as the header tells.
    """
    return _grid(_header(_bytes(path, _HEADER_BYTES), path), path)


def raw_bytes(path: str | os.PathLike) -> bytes:
    """The file's bytes as they are stored.

    Raises:
        UserError: it is missing or cannot be read.
    """
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError as error:
        raise UserError("there is no such file", path=path, remedy="Check the path") from error
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror or error})", path=path, remedy="Check the file") from error


def _bytes(path: str | os.PathLike, count: int = -1) -> bytes:
    """The file's bytes, unzipped; the first `count` only where given."""
    try:
        with open(path, "rb") as stream:
            zipped = stream.read(2) == b"\x1f\x8b"
            stream.seek(0)
            # Read to its end a gzip stream also proves its checksum: damaged bytes do not pass as voxels.
            content = gzip.GzipFile(fileobj=stream).read(count) if zipped else stream.read(count)
    except FileNotFoundError as error:
        raise UserError("there is no such file", path=path, remedy="Check the path") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(
            f"this gzip file is truncated or damaged ({error})", path=path, remedy="Copy or download it again"
        ) from error
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror or error})", path=path, remedy="Check the file") from error
    if not content:
        raise UserError("the file is empty", path=path, remedy="Copy or download it again")
    return content


def _image_class(content: bytes):
    """`nibabel`'s class for these bytes, or None where they are no single-file NIfTI."""
    if (
        len(content) >= 348
        and content[344:347] == b"n+1"
        and 348 in struct.unpack("<i", content[:4]) + struct.unpack(">i", content[:4])
    ):
        return nibabel.Nifti1Image
    if len(content) >= 540 and content[4:7] == b"n+2":
        return nibabel.Nifti2Image
    return None


def _header(content: bytes, path: str | os.PathLike):
    image_class = _image_class(content)
    if image_class is None:
        raise UserError(
            "expected a NIfTI file (.nii or .nii.gz), got something else or only the start of one",
            path=path,
            remedy="Convert it to NIfTI, or copy it again",
        )
    size = image_class.header_class.sizeof_hdr
    try:
        return image_class.header_class(content[:size])
    except (nibabel.spatialimages.HeaderDataError, ValueError) as error:
        raise UserError(f"its NIfTI header is damaged ({error})", path=path, remedy="Copy or write it again") from error


def _grid(header, path: str | os.PathLike) -> Grid:
    shape = header.get_data_shape()
    if len(shape) != 3:
        raise UserError(
            f"expected a 3-D volume, got {len(shape)}-D of shape {tuple(int(n) for n in shape)}",
            path=path,
            remedy="Extract the one volume that is meant into a 3-D file",
        )
    if int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
        raise UserError(
            "its header tells no orientation (sform_code and qform_code are 0)",
            path=path,
            remedy="Convert it again from its DICOM source, or set the sform",
        )
    units = header.get_xyzt_units()[0]
    if units in ("meter", "micron"):
        raise UserError(
            f"expected an affine in millimetres, got {units}s", path=path, remedy="Rewrite it in millimetres"
        )
    try:
        # nibabel's best affine: the sform if its code is set, else the qform.
        return Grid(shape, header.get_best_affine())
    except (ValueError, nibabel.spatialimages.HeaderDataError) as error:
        raise UserError(
            f"its affine or shape is unusable ({error})",
            path=path,
            remedy="Correct the sform or qform of its header, or convert it again from its source",
        ) from error


def _load(path: str | os.PathLike):
    content = _bytes(path)
    grid = _grid(_header(content, path), path)
    try:
        return _image_class(content).from_bytes(content), grid
    except (OSError, ValueError, nibabel.filebasedimages.ImageFileError) as error:
        raise UserError(f"it is no sound NIfTI file ({error})", path=path, remedy="Copy or write it again") from error


def _voxels(image, path: str | os.PathLike, dtype) -> np.ndarray:
    stored = image.get_data_dtype()
    if stored.kind not in "iuf":
        raise UserError(f"expected one number a voxel, got {stored}", path=path, remedy="Convert it to a grey image")
    try:
        values = np.asarray(image.dataobj)
    except (OSError, EOFError, ValueError) as error:
        raise UserError(
            f"the file ends before its last voxel ({error})", path=path, remedy="Copy or download it again"
        ) from error
    if dtype is None:
        return values
    with np.errstate(over="ignore"):  # what overflows becomes infinite, and is then reported as such
        return values.astype(dtype)


def _finite(values: np.ndarray, path: str | os.PathLike) -> np.ndarray:
    bad = values.size - int(np.count_nonzero(np.isfinite(values)))
    if bad:
        raise UserError(
            f"{bad} of {values.size} voxels are NaN or infinite",
            path=path,
            remedy="Replace them by the value of air or background, and check how the file was made",
        )
    return values
