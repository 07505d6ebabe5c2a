"""Writes NIfTI files, on the grid of another NIfTI file or on a given grid."""

from __future__ import annotations

import contextlib
import gzip
import os
import pathlib

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.files.nifti import reader
from semicml_tf.geometry.grid import Grid
from semicml_tf.system import atomic_files

SUFFIXES = (".nii", ".nii.gz")
_LONGEST_NAME = 255  # bytes, on common file systems


def check_output(path: str | pathlib.Path, *, like: str | pathlib.Path) -> None:
    """Checks the name of an output file before any work is done.

    Raises:
        UserError: the name has no NIfTI ending or is too long, or the output is the input.
    """
    if not str(path).endswith(SUFFIXES):
        raise UserError(f"expected an output that ends in {' or '.join(SUFFIXES)}", path=path)
    if len(os.fsencode(pathlib.Path(path).name)) > _LONGEST_NAME:
        raise UserError(f"its name has more than {_LONGEST_NAME} bytes", path=path, remedy="Choose a shorter one")
    if pathlib.Path(path).resolve() == pathlib.Path(like).resolve():
        raise UserError("the output would replace the input", path=path, remedy="Choose another output")


def write_array(
    path: str | pathlib.Path, array: np.ndarray, *, like: str | pathlib.Path, channel: int | None = None
) -> None:
    """Writes `array` with the grid of the NIfTI file `like`: same affine, qform, sform, and codes.

    The same array and header give the same bytes.

    Args:
        path: file to write, which ends in .nii or .nii.gz. It is written atomically.
        array: (i, j, k) in the index order of `like`.
        like: the NIfTI file whose header is copied.
        channel: number of the source volume, if `like` is 4-D.

    Raises:
        UserError: the path cannot be written to or has no NIfTI ending, or `like` cannot be read.
    """
    check_output(path, like=like)
    original = reader.read_header(like, channel=channel)
    if original.grid.shape != array.shape:
        raise ValueError(f"expected an array of shape {original.grid.shape}, got {array.shape}")
    if original.remarks:  # a contradictory header is not copied
        write_on_grid(path, array, original.grid)
        return
    header = original.fields
    header.set_data_shape(array.shape)  # `like` may have a fourth axis
    # Scaling, display range and texts of the image do not apply to the result. Extensions are not copied, because they
    # may contain the patient's name.
    header.set_data_dtype(array.dtype)
    header.set_slope_inter(1, 0)
    header["vox_offset"] = 0
    # The display range of a label map is the range of its values.
    is_map = array.dtype.kind in "iu" and array.size
    header["cal_min"], header["cal_max"] = (min(array.min(), 0), max(array.max(), 1)) if is_map else (0, 1)
    for name in ("descrip", "aux_file", "db_name"):
        if name in header.keys():
            header[name] = b""
    header.set_intent("none")
    _write(path, original.image_class(array, original.grid.affine, header))


def write_on_grid(path: str | pathlib.Path, array: np.ndarray, grid: Grid) -> None:
    """Writes `array` with a new header, without a NIfTI file to copy the header from.

    Args:
        path: file to write, which ends in .nii or .nii.gz. It is written atomically.
        array: (i, j, k), of the shape of `grid`.
        grid: grid of the array.

    Raises:
        UserError: the path cannot be written to.
    """
    import nibabel

    if array.shape != grid.shape:
        raise ValueError(f"expected an array of shape {grid.shape}, got {array.shape}")
    image = nibabel.Nifti1Image(array, grid.affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(grid.affine, code=1)
    # Some readers use the qform first. A qform cannot describe oblique axes that are not orthogonal.
    with contextlib.suppress(nibabel.spatialimages.HeaderDataError):
        image.set_qform(grid.affine, code=1, strip_shears=False)
    _write(path, image)


def _write(path: str | pathlib.Path, image) -> None:
    def write(stream):
        # nibabel writes slice by slice, so that a large volume is not copied as a whole.
        if str(path).endswith(".gz"):
            # No name and no time in the gzip header, so that equal masks are equal files.
            with gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0, compresslevel=6) as compressed:
                image.to_stream(compressed)
        else:
            image.to_stream(stream)

    atomic_files.write_file(path, write)
