"""Enhanced CT and MR: the slices are the frames of one file."""

from __future__ import annotations

import pathlib

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.files.dicom import frames, pixels, slice_geometry
from semicml_tf.files.dicom import libraries as library
from semicml_tf.files.nifti import reader
from semicml_tf.geometry.grid import Grid

MODALITIES = ("CT", "MR")


def check(path: pathlib.Path, modality: str, files: int) -> None:
    """Checks that a multi-frame series is supported.

    Args:
        path: the file, for messages.
        modality: the DICOM code.
        files: number of files of the series.

    Raises:
        UserError: the series is neither CT nor MR, or it has several files.
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
            remedy="Keep one of the files in the series",
        )


def _stack(path: pathlib.Path, dataset) -> tuple[list[slice_geometry.Slice], Grid, list]:
    """The frames in the order of the third index, their grid, and the tags of all frames in stored order."""
    pixels.check_grey(path, dataset)
    tags = frames.tags_by_frame(path, dataset)
    slices = [slice_geometry.read_slice(path, frame_tags, index) for index, frame_tags in enumerate(tags)]
    return *slice_geometry.stack(slices), tags


def read_grid(path: pathlib.Path) -> Grid:
    """The grid of `read_volume`, read from the header. Raises the same errors."""
    dataset = library.read(path, tags=())
    with library.user_errors(path, dataset):
        return _stack(path, dataset)[1]


def read_volume(path: pathlib.Path, most_voxels: int) -> tuple[np.ndarray, Grid]:
    """float32 rescaled values (column, row, slice) and their grid, in the order of `slice_geometry.stack`.

    Raises:
        UserError: the frames are no regular stack (duplicate or missing positions, several phases, gantry tilt), are
            in colour, cannot be decoded, or have more voxels than `most_voxels`.
    """
    dataset = library.read(path)
    with library.user_errors(path, dataset):
        ordered, grid, tags = _stack(path, dataset)
        reader.check_voxels(grid.shape, most_voxels, path)
        modality = str(library.value(dataset, "Modality") or "")
        volume = np.empty(grid.shape[::-1], np.float32)
        stored = pixels.stored_frames(path, dataset, [item.frame for item in ordered])
        for index, (item, (values, padding)) in enumerate(zip(ordered, stored)):
            volume[index] = pixels.rescaled(path, tags[item.frame], modality, values, padding)
        if not np.isfinite(volume).all():
            raise UserError("the rescaled values are not finite", path=path, remedy="Check RescaleSlope")
    return volume.transpose(2, 1, 0), grid
