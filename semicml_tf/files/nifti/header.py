"""The header of a NIfTI-1 or NIfTI-2 file, checked field by field.

nibabel's parser silently replaces invalid values: a voxel size of 0 becomes 1 mm, an unknown orientation code becomes
0. Here, an invalid field is an error if the result depends on it. Otherwise it is reported in `remarks`.
"""

from __future__ import annotations

import dataclasses
import math
import os
import struct

import nibabel
import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.geometry.grid import Grid

BYTES = 540  # of NIfTI-2, the longer of the two
_SHORT = 348  # of NIfTI-1
_LARGEST_OFFSET = 1 << 28  # bytes; header extensions are far smaller
_CODES = range(6)  # of sform and qform: 0 is none, 5 is any other template
_MILLIMETRES = (0, 2)  # codes of the unit of length; 0 is unknown
_OTHER_UNITS = {1: "metres", 3: "micrometres"}

# Files of other formats: first bytes, name, remedy.
_DICOM = ("a DICOM file", "Give the folder of its series, which the layout dicom reads, or convert it to NIfTI")
_PICTURE = "Pictures hold no spacing and no position: use the volume that this was made from"
_DOWNLOAD = "The download did not work: get the file itself"
_CONVERT = "Convert it to NIfTI (.nii.gz)"
_STARTS = (
    (b"\x89PNG", "a PNG picture", _PICTURE),
    (b"\xff\xd8\xff", "a JPEG picture", _PICTURE),
    (b"II*\0", "a TIFF picture", _PICTURE),
    (b"MM\0*", "a TIFF picture", _PICTURE),
    (b"NRRD", "an NRRD file", _CONVERT),
    (b"ObjectType", "a MetaImage file", _CONVERT),
    (b"\x89HDF", "an HDF5 file", _CONVERT),
    (b"\x93NUMPY", "a NumPy array", "An array holds no spacing and no position: use its NIfTI file"),
    (b"PK\x03\x04", "a zip archive", "Unpack it"),
    (b"version https://git-lfs", "a pointer of git-lfs", "Run 'git lfs pull' where it comes from"),
    (b"<!DOCTYPE", "a web page", _DOWNLOAD),
    (b"<!doctype", "a web page", _DOWNLOAD),
    (b"<html", "a web page", _DOWNLOAD),
    (b"<?xml", "an XML file", _DOWNLOAD),
)


@dataclasses.dataclass(frozen=True, eq=False)
class Header:
    """The checked header of one 3-D volume.

    Attributes:
        grid: grid of the volume.
        dtype: type of the stored numbers, with their byte order.
        offset: offset of the volume's first byte in the unzipped file.
        end: offset of the first byte after the last volume of the file.
        slope: factor of the stored numbers.
        inter: term that is added after the multiplication.
        remarks: contradictions between fields that the result does not depend on.
        fields: all fields, as nibabel's header.
    """

    grid: Grid
    dtype: np.dtype
    offset: int
    end: int
    slope: float
    inter: float
    remarks: tuple[str, ...]
    fields: nibabel.Nifti1Header

    @property
    def image_class(self) -> type[nibabel.Nifti1Image]:
        """nibabel's class of images with such a header."""
        is_2 = isinstance(self.fields, nibabel.Nifti2Header)
        return nibabel.Nifti2Image if is_2 else nibabel.Nifti1Image


def parse(content: bytes, path: str | os.PathLike, *, channel: int | None = None) -> Header:
    """Reads a header.

    Args:
        content: the file's first `BYTES` bytes, or all of a shorter file, unzipped.
        path: path of the file, for messages.
        channel: number of a volume of a 4-D file; None for a 3-D file.

    Raises:
        UserError: the file is no single-file NIfTI, or its header is damaged; it is not 3-D, or has no such channel; it
            has more than one number per voxel, no orientation, a unit other than millimetres, or a singular affine.
    """
    fields = _fields(content, path)
    dtype = _dtype(fields, path)
    whole = _sizes(fields, path)
    shape = _shape(whole, path, channel)
    slope, inter = _scale(fields, path)
    offset = _offset(fields, path)
    grid, remarks = _grid(fields, shape, path)
    if (bits := int(fields["bitpix"])) != dtype.itemsize * 8:
        remarks = (*remarks, f"bitpix is {bits}, which is not the size of {dtype.name}")
    return Header(
        grid=grid,
        dtype=dtype,
        offset=offset + (channel or 0) * math.prod(shape) * dtype.itemsize,
        end=offset + math.prod(whole) * dtype.itemsize,
        slope=slope,
        inter=inter,
        remarks=remarks,
        fields=fields,
    )


def _fields(content: bytes, path: str | os.PathLike):
    """All fields as stored, without nibabel's corrections."""
    for header_class, size, magic in (
        (nibabel.Nifti1Header, _SHORT, content[344:347] == b"n+1"),
        (nibabel.Nifti2Header, BYTES, content[4:7] == b"n+2"),
    ):
        if magic and len(content) >= size:
            for order in "<>":
                if struct.unpack(f"{order}i", content[:4])[0] == size:
                    return header_class(content[:size], endianness=order, check=False)
    kind, remedy = _recognised(content, path) or (
        "something else, or only a start",
        "Convert it to NIfTI, or copy it again",
    )
    raise UserError(f"expected a NIfTI file (.nii or .nii.gz), got {kind}", path=path, remedy=remedy)


def _damaged(how, path: str | os.PathLike) -> UserError:
    return UserError(f"its NIfTI header is damaged ({how})", path=path, remedy="Copy or write it again")


def _scale(fields, path: str | os.PathLike) -> tuple[float, float]:
    slope, inter = float(fields["scl_slope"]), float(fields["scl_inter"])
    # 0 means "not scaled" in the standard; nibabel writes NaN for it.
    if slope == 0 or math.isnan(slope):
        return 1.0, 0.0
    if not (math.isfinite(slope) and math.isfinite(inter)):
        raise _damaged(f"scl_slope is {slope:g} and scl_inter {inter:g}", path)
    return slope, inter


def _offset(fields, path: str | os.PathLike) -> int:
    offset = float(fields["vox_offset"])
    if not fields.single_vox_offset <= offset <= _LARGEST_OFFSET or offset != int(offset):
        raise _damaged(f"the voxels would begin at byte {offset:.15g}", path)
    return int(offset)


def _dtype(fields, path: str | os.PathLike) -> np.dtype:
    try:
        dtype = fields.get_data_dtype()
    except (nibabel.spatialimages.HeaderDataError, KeyError, ValueError) as error:
        raise _damaged(error, path) from error
    if dtype.names:
        what, remedy = f"colours ({''.join(dtype.names)})", "Use the image that the coloured one was made from"
    elif dtype.kind == "c":
        what, remedy = f"complex numbers ({dtype})", "Write its magnitude into a file of its own"
    elif dtype.kind not in "iuf" or dtype.itemsize == 0:
        what, remedy = f"'{fields.get_value_label('datatype')}'", "Convert it to a grey image"
    else:
        return dtype
    raise UserError(f"expected one number a voxel, got {what}", path=path, remedy=remedy)


def _sizes(fields, path: str | os.PathLike) -> tuple[int, ...]:
    number = int(fields["dim"][0])
    sizes = tuple(int(size) for size in fields["dim"][1 : max(number, 0) + 1])
    if not 1 <= number <= 7 or min(sizes) < 1:
        raise _damaged(f"dim is {[int(size) for size in fields['dim']]}", path)
    return sizes


def _shape(whole: tuple[int, ...], path: str | os.PathLike, channel: int | None) -> tuple[int, int, int]:
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


def _grid(fields, shape: tuple[int, int, int], path: str | os.PathLike) -> tuple[Grid, tuple[str, ...]]:
    """The grid from the sform if its code is set, else from the qform; and remarks about an unused qform."""
    sform, qform = int(fields["sform_code"]), int(fields["qform_code"])
    if sform == 0 and qform == 0:
        raise UserError(
            "its header tells no orientation (sform_code and qform_code are 0)",
            path=path,
            remedy="Convert it again from its DICOM source, or set the sform",
        )
    if sform not in _CODES or (sform == 0 and qform not in _CODES):
        raise _damaged(f"expected sform_code and qform_code from 0 to {_CODES[-1]}, got {sform} and {qform}", path)
    units = int(fields["xyzt_units"]) % 8
    if units not in _MILLIMETRES:
        unit = _OTHER_UNITS.get(units, f"the unknown unit {units}")
        raise UserError(f"expected an affine in millimetres, got {unit}", path=path, remedy="Rewrite it in millimetres")
    if float(fields["pixdim"][0]) == 0:
        fields["pixdim"][0] = 1  # as the standard says
    remarks: tuple[str, ...] = ()
    try:
        if sform:
            remarks = _qform_remarks(fields, qform)
            return Grid(shape, fields.get_sform()), remarks
        return Grid(shape, _qform(fields)), remarks
    except (ValueError, nibabel.spatialimages.HeaderDataError) as error:
        raise UserError(
            f"its affine or shape is unusable ({error})",
            path=path,
            remedy="Correct the sform or qform of its header, or convert it again from its source",
        ) from error


def _qform(fields) -> np.ndarray:
    spacing = fields["pixdim"][1:4]
    if not (np.isfinite(spacing).all() and (spacing > 0).all()):
        raise ValueError(f"expected positive voxel sizes in pixdim, got {[float(size) for size in spacing]}")
    return fields.get_qform()


def _qform_remarks(fields, code: int) -> tuple[str, ...]:
    if code not in _CODES:
        return (f"qform_code is {code}",)
    try:
        affine = _qform(fields)  # its voxel sizes should be right even where it is not set
        if code:
            Grid((1, 1, 1), affine)
    except (ValueError, nibabel.spatialimages.HeaderDataError) as error:
        return (f"the qform is unusable: {error}",)
    return ()


def _recognised(content: bytes, path: str | os.PathLike) -> tuple[str, str] | None:
    """The other format of a file, and the remedy; None if the format is unknown.

    Args:
        content: the first bytes of the file, unzipped; 348 are enough.
        path: of the file. The halves of .hdr/.img pairs are recognised by their names.
    """
    if content[128:132] == b"DICM":
        return _DICOM
    for start, name, remedy in _STARTS:
        if content.startswith(start):
            return name, remedy
    name = os.fspath(path).lower().removesuffix(".gz")
    if content[344:347] == b"ni1" or name.endswith((".hdr", ".img")):
        # Analyze 7.5 and NIfTI pairs: header and voxels in two files.
        return "one half of a .hdr/.img pair", "Convert the pair into one file: nib-convert NAME.hdr NAME.nii.gz"
    return None
