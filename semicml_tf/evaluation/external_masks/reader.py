"""Reads the masks of a case onto the patient's own grid. All contents of the files are checked before use."""

from __future__ import annotations

import dataclasses
import math
import pathlib

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.evaluation.external_masks import files
from semicml_tf.evaluation.external_masks.files import MaskFile
from semicml_tf.evaluation.external_masks.values import MaskValues
from semicml_tf.files import nrrd
from semicml_tf.files.dicom import libraries, segmentation
from semicml_tf.files.nifti import reader as nifti
from semicml_tf.geometry import lattice
from semicml_tf.geometry.grid import Grid
from semicml_tf.geometry.lattice import Placement

_REMEDY = "Write the mask on the grid of the image that was converted, without resampling and with its header"


@dataclasses.dataclass(frozen=True, eq=False)
class CaseMasks:
    """The masks of a case.

    Attributes:
        masks: by class, uint8 0/1 on the patient's own grid.
        is_reordered: whether the axes of a file have another order or direction than the patient's grid.
        background: values other than 0 that were taken for background.
    """

    masks: dict[str, np.ndarray]
    is_reordered: bool = False
    background: tuple[int, ...] = ()


def read(case: MaskFile, native: Grid, values: MaskValues) -> CaseMasks:
    """Reads the masks of a case.

    Args:
        native: the patient's own grid.
        values: of the classes.

    Raises:
        UserError: a file is damaged, on another grid, or has values that belong to no class.
    """
    if None in case.paths:
        return _read(case.paths[None], native, values)
    # A file per region contains 0 and 1, unless the user named the region's values.
    by_class = {
        name: _read(case.paths[name], native, MaskValues({name: class_values if values.given else (1,)}, values.given))
        for name, class_values in values.by_class.items()
    }
    return CaseMasks(
        {name: masks.masks[name] for name, masks in by_class.items()},
        any(masks.is_reordered for masks in by_class.values()),
        tuple(sorted({value for masks in by_class.values() for value in masks.background})),
    )


def _read(path: pathlib.Path, native: Grid, values: MaskValues) -> CaseMasks:
    if files.is_dicom(path):
        return _segments(path, native, values)
    if files.is_nrrd(path):
        read_grid, read_label = nrrd.read_grid, nrrd.read_label
    else:
        read_grid, read_label = nifti.read_grid, nifti.read_label
    place = _placement(read_grid(path), native, path)
    stored, _ = read_label(path, most_voxels=math.prod(native.shape))
    masks, background = values.masks(stored, path)
    placed = {name: np.ascontiguousarray(place.apply(mask)) for name, mask in masks.items()}
    return CaseMasks(placed, place.is_reordered, background)


def _segments(path: pathlib.Path, native: Grid, values: MaskValues) -> CaseMasks:
    """Reads the segments of a DICOM-SEG, which may store only slices with foreground."""
    dataset = libraries.read(path)
    if libraries.value(dataset, "Modality") != "SEG":
        raise UserError("expected a DICOM-SEG, got another kind of DICOM object", path=path, remedy="Export it again")
    masks, reordered = {}, False
    with libraries.user_errors(path, dataset):
        numbers_of = values.segments(segmentation.names(path, dataset), path)
        for name, numbers in numbers_of.items():
            if not numbers:
                masks[name] = np.zeros(native.shape, np.uint8)
                continue
            mask, grid = segmentation.read_mask(path, dataset, numbers, most_voxels=math.prod(native.shape))
            place = _placement(grid, native, path, may_be_part=True)
            masks[name] = np.ascontiguousarray(place.apply(mask.view(np.uint8)))
            reordered |= place.is_reordered
    return CaseMasks(masks, reordered)


def _placement(grid: Grid, native: Grid, path: pathlib.Path, *, may_be_part: bool = False) -> Placement:
    place = lattice.placement(grid, native)
    if place is not None and (place.is_whole or may_be_part):
        return place
    cause = lattice.likely_cause(grid, native)
    raise UserError(
        f"expected the patient's grid, {lattice.described(native)}, got {lattice.described(grid)}"
        + (f"; probably {cause}" if cause else ""),
        path=path,
        remedy=_REMEDY,
    )
