"""Enhanced objects: CT or MR whose slices are the frames of one file. highdicom reads them."""

from __future__ import annotations

import pathlib

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.files import dicom_geometry
from semicml_tf.files import dicom_library as library
from semicml_tf.geometry.grid import Grid

MODALITIES = ("CT", "MR")


def check(path: pathlib.Path, modality: str, files: int) -> None:
    """Refuses multi-frame series that are not read.

    Args:
        modality: the DICOM code.
        files: of the series.

    Raises:
        UserError: it is no CT or MR, or it has several files.
    """
    if modality not in MODALITIES:
        raise UserError(
            "multi-frame (enhanced) PET is not supported: its SUV tags differ",
            path=path,
            remedy="Export it as classic single-frame PET in BQML",
        )
    if files != 1:
        raise UserError(
            f"expected a multi-frame series in one file, got {files} files",
            path=path,
            remedy="Leave the one file that is meant in the series",
        )


def read_volume(path: pathlib.Path) -> tuple[np.ndarray, Grid]:
    """float32 rescaled values (column, row, slice) and their grid, sorted as `dicom_geometry.stack` does.

    Raises:
        UserError: the frames are no regular stack, are in colour, or cannot be decoded.
    """
    highdicom = library.highdicom()
    library.read(path, tags=("Rows",))  # whether it is a DICOM file at all
    try:
        image = highdicom.imread(path)
        volume = image.get_volume(
            apply_real_world_transform=False,
            apply_modality_transform=None,
            apply_voi_transform=False,
            allow_missing_positions=False,
        )
    except Exception:  # its text may quote tags
        raise UserError(
            "its frames are no regular stack of grey slices (duplicate or missing positions, several phases, "
            "gantry tilt), or cannot be decoded",
            path=path,
            remedy="Export it as classic single-frame images, or convert it to NIfTI (dcm2niix)",
        ) from None
    # highdicom's indices are slice, row, column.
    affine = dicom_geometry.from_lps(np.asarray(volume.affine))[:, [2, 1, 0, 3]]
    values = np.asarray(volume.array, dtype=np.float32).transpose(2, 1, 0)
    if np.linalg.det(affine[:3, :3]) < 0:  # slices against the normal of their plane
        affine[:3, 3] += affine[:3, 2] * (values.shape[2] - 1)
        affine[:3, 2] *= -1
        values = values[:, :, ::-1]
    return np.ascontiguousarray(values), Grid(values.shape, affine)
