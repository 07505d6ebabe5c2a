"""The header of a NIfTI-1 or NIfTI-2 file: what it says of its voxels, checked."""

from __future__ import annotations

import dataclasses
import math
import os
import struct

import nibabel
import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.files import other_formats
from semicml_tf.geometry.grid import Grid

BYTES = 540  # of NIfTI-2, the longer of the two
_SHORT = 348  # of NIfTI-1


@dataclasses.dataclass(frozen=True, eq=False)
class Header:
    """What is needed to read the voxels of one 3-D volume.

    Attributes:
        grid: the volume's.
        dtype: of the stored numbers, with their byte order.
        offset: of the volume's first byte in the unzipped file.
        slope: what stored numbers are multiplied by.
        inter: what is then added.
    """

    grid: Grid
    dtype: np.dtype
    offset: int
    slope: float = 1.0
    inter: float = 0.0


def parse(content: bytes, path: str | os.PathLike, *, channel: int | None = None) -> Header:
    """Reads a header.

    Args:
        content: the file's first `BYTES` bytes, or all of a shorter file, unzipped.
        path: of the file, for messages.
        channel: which volume of a 4-D file is meant; None where the file should hold one volume.

    Raises:
        UserError: it is no NIfTI file of one file, or damaged; not 3-D, or has no such channel; more than one number a
            voxel; no orientation; not in millimetres; an affine that cannot be inverted.
    """
    header = _nibabel_header(content, path)
    dtype = _dtype(header, path)
    shape = _shape(header, path, channel)
    try:
        # nibabel reads a slope of 0 or NaN as "not scaled".
        slope, inter = header.get_slope_inter()
        offset = int(header.get_data_offset())
    except (nibabel.spatialimages.HeaderDataError, ValueError, OverflowError) as error:
        raise _damaged(error, path) from error
    if offset < header.sizeof_hdr:
        raise _damaged(f"the voxels would begin at byte {offset}, within the header", path)
    return Header(
        grid=_grid(header, shape, path),
        dtype=dtype,
        offset=offset + (channel or 0) * math.prod(shape) * dtype.itemsize,
        slope=1.0 if slope is None else float(slope),
        inter=0.0 if inter is None else float(inter),
    )


def _nibabel_header(content: bytes, path: str | os.PathLike):
    image_class = _image_class(content)
    if image_class is None:
        found = other_formats.recognise(content, path)
        raise UserError(
            f"expected a NIfTI file (.nii or .nii.gz), got {found[0] if found else 'something else, or only a start'}",
            path=path,
            remedy=found[1] if found else "Convert it to NIfTI, or copy it again",
        )
    try:
        return image_class.header_class(content[: image_class.header_class.sizeof_hdr])
    except (nibabel.spatialimages.HeaderDataError, ValueError) as error:
        raise _damaged(error, path) from error


def _image_class(content: bytes):
    """`nibabel`'s class for these bytes, or None where they are no single-file NIfTI."""
    sizes = struct.unpack("<i", content[:4]) + struct.unpack(">i", content[:4]) if len(content) >= 4 else ()
    if len(content) >= _SHORT and content[344:347] == b"n+1" and _SHORT in sizes:
        return nibabel.Nifti1Image
    if len(content) >= BYTES and content[4:7] == b"n+2" and BYTES in sizes:
        return nibabel.Nifti2Image
    return None


def _damaged(how, path: str | os.PathLike) -> UserError:
    return UserError(f"its NIfTI header is damaged ({how})", path=path, remedy="Copy or write it again")


def _dtype(header, path: str | os.PathLike) -> np.dtype:
    try:
        dtype = header.get_data_dtype()
    except (nibabel.spatialimages.HeaderDataError, KeyError, ValueError) as error:
        raise _damaged(error, path) from error
    if dtype.names:
        what, remedy = f"colours ({''.join(dtype.names)})", "Use the image that the coloured one was made from"
    elif dtype.kind == "c":
        what, remedy = f"complex numbers ({dtype})", "Write its magnitude into a file of its own"
    elif dtype.kind not in "iuf" or dtype.itemsize == 0:
        what, remedy = f"'{header.get_value_label('datatype')}'", "Convert it to a grey image"
    else:
        return dtype
    raise UserError(f"expected one number a voxel, got {what}", path=path, remedy=remedy)


def _shape(header, path: str | os.PathLike, channel: int | None) -> tuple[int, int, int]:
    whole = tuple(int(size) for size in header.get_data_shape())
    shape = whole
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if channel is None and len(shape) != 3:
        raise UserError(
            f"expected a 3-D volume, got {len(whole)}-D of shape {whole}",
            path=path,
            remedy="Extract the one volume that is meant into a 3-D file",
        )
    channels = shape[3] if len(shape) == 4 else 1
    if len(shape) not in (3, 4) or (channel or 0) >= channels:
        raise UserError(
            f"expected a file with a channel {channel}, got shape {whole}",
            path=path,
            remedy="Check that dataset.json names the channels that the files have",
        )
    return shape[:3]


def _grid(header, shape: tuple[int, int, int], path: str | os.PathLike) -> Grid:
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
