"""Results written as NIfTI, in place over the image that they were made from."""

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
    """Refuses an output's name before any work is done.

    Raises:
        UserError: it does not end as NIfTI files do, is too long, or is the input.
    """
    if not str(path).endswith(SUFFIXES):
        raise UserError(f"expected an output that ends in {' or '.join(SUFFIXES)}", path=path)
    if len(os.fsencode(pathlib.Path(path).name)) > _LONGEST_NAME:
        raise UserError(f"its name has more than {_LONGEST_NAME} bytes", path=path, remedy="Choose a shorter one")
    if pathlib.Path(path).resolve() == pathlib.Path(like).resolve():
        raise UserError("the output would replace the input", path=path, remedy="Choose another output")


def write_mask(path: str | pathlib.Path, mask: np.ndarray, *, like: str | pathlib.Path) -> None:
    """Writes a mask as uint8; see `write_array`."""
    write_array(path, np.asarray(mask, np.uint8), like=like)


def write_array(
    path: str | pathlib.Path, array: np.ndarray, *, like: str | pathlib.Path, channel: int | None = None
) -> None:
    """Writes `array` with the grid of the NIfTI file `like`: same affine, qform, sform, and codes.

    The same array and header give the same bytes.

    Args:
        path: ends in .nii or .nii.gz; appears whole or not at all.
        array: (i, j, k) in the index order of `like`.
        channel: the volume of `like` that the result was made from, if `like` is 4-D.

    Raises:
        UserError: the path cannot be written to or does not end as NIfTI files do; `like` cannot be read.
    """
    check_output(path, like=like)
    held = reader.read_header(like, channel=channel)
    if held.grid.shape != array.shape:
        raise ValueError(f"expected an array of shape {held.grid.shape}, got {array.shape}")
    if held.remarks:  # a header that contradicts itself is not passed on
        write_on_grid(path, array, held.grid)
        return
    header = held.fields
    header.set_data_shape(array.shape)  # `like` may have a fourth axis
    # The image's own scaling, display range and texts say nothing about the result. Extensions, which
    # may name the patient, are left behind with the rest of the file.
    header.set_data_dtype(array.dtype)
    header.set_slope_inter(1, 0)
    header["vox_offset"] = 0
    header["cal_min"], header["cal_max"] = 0, 1
    for name in ("descrip", "aux_file", "db_name"):
        if name in header.keys():
            header[name] = b""
    header.set_intent("none")
    _write(path, held.image_class(array, held.grid.affine, header))


def write_on_grid(path: str | pathlib.Path, array: np.ndarray, grid: Grid) -> None:
    """Writes `array`, of the shape of `grid`, where no file is there to take the header from.

    Args:
        path: ends in .nii or .nii.gz; appears whole or not at all.

    Raises:
        UserError: the path cannot be written to.
    """
    import nibabel

    if array.shape != grid.shape:
        raise ValueError(f"expected an array of shape {grid.shape}, got {array.shape}")
    image = nibabel.Nifti1Image(array, grid.affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(grid.affine, code=1)
    # Readers that look at the qform first get it, too, unless the axes are askew, which it cannot say.
    with contextlib.suppress(nibabel.spatialimages.HeaderDataError):
        image.set_qform(grid.affine, code=1, strip_shears=False)
    _write(path, image)


def _write(path: str | pathlib.Path, image) -> None:
    def write(stream):
        # Slice by slice: the bytes of a large volume are never held as a whole.
        if str(path).endswith(".gz"):
            # No name and no time in the gzip header, so that equal masks are equal files.
            with gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0, compresslevel=6) as compressed:
                image.to_stream(compressed)
        else:
            image.to_stream(stream)

    atomic_files.write_file(path, write)
