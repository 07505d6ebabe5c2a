"""Label maps in NRRD files. The header is checked first; then SimpleITK reads the file."""

from __future__ import annotations

import os

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.files.dicom import libraries, slice_geometry
from semicml_tf.geometry.grid import Grid
from semicml_tf.system import file_kind

ENDINGS = (".seg.nrrd", ".nrrd")
_MOST_HEADER = 1 << 20  # bytes; segments of 3D Slicer have some hundred bytes each
_NEEDED = ("sizes", "space", "space directions", "space origin")
_ENCODINGS = ("raw", "gzip", "gz")
_HIGHEST = 2**31 - 1
_REMEDY = "Convert it to NIfTI (.nii.gz)"


def read_grid(path: str | os.PathLike) -> Grid:
    """The grid of a file, from its header alone.

    Raises:
        UserError: it is no NRRD file of one 3-D volume with spacing and origin, its values lie in another file, or
            SimpleITK is not installed.
    """
    _check_header(path)
    return _opened(path)[1]


def read_label(path: str | os.PathLike, most_voxels: int) -> tuple[np.ndarray, Grid]:
    """Reads a label map.

    Args:
        path: the file.
        most_voxels: larger volumes are refused before memory is allocated.

    Returns:
        int32 values in the file's own index order, and their grid.

    Raises:
        UserError: as in `read_grid`; the file is damaged or too large, or its values are no whole numbers.
    """
    _check_header(path)
    reader, grid = _opened(path)
    if np.prod(grid.shape, dtype=object) > most_voxels:
        raise UserError(
            f"expected at most {most_voxels} voxels, got shape {grid.shape}", path=path, remedy="Check the file"
        )
    sitk = libraries.simpleitk("NRRD")
    try:
        values = sitk.GetArrayFromImage(reader.Execute()).transpose(2, 1, 0)
    except (RuntimeError, MemoryError) as error:
        raise _damaged(path) from error
    return _whole_numbers(values, path), grid


def _check_header(path: str | os.PathLike) -> None:
    """Raises UserError if the header does not describe one volume within this file.

    A header can name another file for its values, which SimpleITK would read.
    """
    if kind := file_kind.irregular(path):
        raise UserError(f"expected a file, got {kind}", path=path, remedy="Name the file that is meant")
    try:
        with open(path, "rb") as stream:
            start = stream.read(_MOST_HEADER)
    except OSError as error:
        raise UserError(
            f"cannot be read ({error.strerror or error})", path=path, remedy="Check the file and its permissions"
        ) from error
    header, blank, _ = start.replace(b"\r\n", b"\n").partition(b"\n\n")
    if not start.startswith(b"NRRD000") or not blank:
        raise UserError("expected an NRRD file with its values, got something else", path=path, remedy=_REMEDY)
    fields = {}
    for line in header.decode("latin-1").split("\n")[1:]:
        name, colon, value = line.partition(":")
        if colon and not line.startswith("#") and not value.startswith("="):
            fields[name.strip().lower()] = value.strip()
    if "data file" in fields or "datafile" in fields:
        raise UserError("its values lie in another file, which is not read", path=path, remedy=_REMEDY)
    if fields.get("encoding", "").lower() not in _ENCODINGS:
        expected = f"expected an encoding among {', '.join(_ENCODINGS)}"
        raise UserError(f"{expected}, got '{fields.get('encoding', '')[:40]}'", path=path, remedy=_REMEDY)
    if fields.get("dimension") != "3":
        raise UserError(
            f"expected one 3-D label map, got a file of dimension '{fields.get('dimension', '')[:10]}'",
            path=path,
            remedy="Export the segments as one label map, or each class by itself",
        )
    lacking = [name for name in _NEEDED if not fields.get(name)]
    if lacking:
        raise UserError(f"its header has no {' and no '.join(lacking)}", path=path, remedy="Write it with its geometry")


def _opened(path: str | os.PathLike):
    """SimpleITK's reader, after reading the file's header, and the grid."""
    sitk = libraries.simpleitk("NRRD")
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    reader = sitk.ImageFileReader()
    reader.SetImageIO("NrrdImageIO")
    reader.SetFileName(os.fspath(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _damaged(path) from error
    if reader.GetDimension() != 3 or reader.GetNumberOfComponents() != 1:
        raise UserError("expected one number per voxel of a 3-D volume", path=path, remedy=_REMEDY)
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(reader.GetDirection(), (3, 3)) * np.array(reader.GetSpacing())
    affine[:3, 3] = reader.GetOrigin()
    try:
        return reader, Grid(reader.GetSize(), slice_geometry.from_lps(affine))
    except ValueError as error:
        raise UserError(f"its geometry is unusable ({error})", path=path, remedy="Write it again") from error


def _damaged(path: str | os.PathLike) -> UserError:
    return UserError("this NRRD file is damaged or truncated", path=path, remedy="Copy or write it again")


def _whole_numbers(values: np.ndarray, path: str | os.PathLike) -> np.ndarray:
    """The values as int32.

    Raises:
        UserError: a value is not finite, no whole number, or has more than 32 bits.
    """
    if values.dtype.kind not in "iuf":
        raise UserError(f"expected numbers, got values of type {values.dtype}", path=path, remedy=_REMEDY)
    if values.dtype.kind == "f":
        known = np.isfinite(values)
        known &= np.rint(np.where(known, values, 0)) == np.where(known, values, 0)
        if not known.all():
            raise UserError(
                f"expected a label map of whole numbers, got values such as {values[~known][0]:g}",
                path=path,
                remedy="Resample label maps with nearest neighbour, and check that this file is one",
            )
    if values.size and not -_HIGHEST <= values.min() <= values.max() <= _HIGHEST:
        raise UserError("expected a label map with values of 32 bits", path=path, remedy="Check that it is one")
    return values.astype(np.int32)
