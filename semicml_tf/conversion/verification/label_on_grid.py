"""Checks of a label map: the grid of its image, known values, not empty."""

from __future__ import annotations

import numpy as np

from semicml_tf.conversion.settings import Settings
from semicml_tf.conversion.verification.plausible_grids import check_overlap
from semicml_tf.errors import UserError
from semicml_tf.files.case import CaseFiles
from semicml_tf.geometry.grid import Grid


def read_codes(case: CaseFiles, settings: Settings, reference: Grid) -> tuple[np.ndarray, Grid]:
    """The label's codes (see `labels.LabelDefinition`) on the grid of the file.

    Args:
        case: a case with a label.
        settings: settings of the conversion.
        reference: grid of the image whose box the record covers.

    Raises:
        UserError: the file is unusable, or one of the checks below fails.
    """
    values, grid = case.label.read_label()
    check_place(case, settings, grid, reference)
    check_values(case, settings, values)
    codes = settings.labels.encode(values)
    check_not_empty(case, settings, settings.labels.any(codes))
    return codes, grid


def check_place(case: CaseFiles, settings: Settings, grid: Grid, reference: Grid) -> None:
    """Checks the grid of the label.

    The label must be on the grid of the image on which it was drawn. If this image is missing, the label may have any
    grid that overlaps with `reference`.

    Args:
        case: a case with a label.
        settings: settings of the conversion.
        grid: grid of the label.
        reference: grid of the image whose box the record covers.

    Raises:
        UserError: the label is on another grid.
    """
    drawn_on = case.label_on or case.images.get(settings.reference_modality)
    if drawn_on is None or drawn_on.missing():
        check_overlap(
            reference, grid, case_id=case.case_id, reference_name="its image", name="label", path=case.label.path
        )
        return
    expected = drawn_on.read_grid()
    # The order and direction of the axes may differ.
    if grid.is_close(expected) or grid.reordered()[0].is_close(expected.reordered()[0]):
        return
    raise UserError(
        f"the label of case {case.case_id} {_difference(grid, expected, drawn_on.path.name)}",
        path=case.label.path,
        remedy="Resample the label onto that image with nearest neighbour, or name its image in --label_on",
    )


def check_values(case: CaseFiles, settings: Settings, values: np.ndarray) -> None:
    """Raises UserError if the label map has values that are neither a class nor background nor ignored."""
    ignored = settings.labels.ignore_value
    known = settings.labels.values + settings.background_values + (() if ignored is None else (ignored,))
    is_known = np.zeros(values.shape, bool)
    for value in known:
        is_known |= values == value
    if is_known.all():
        return
    unknown = [int(value) for value in np.unique(values[~is_known])]
    raise UserError(
        f"expected label values {sorted(known)}, got also {unknown[:8]}",
        path=case.label.path,
        remedy="Name every value in --label_values or --labels (foreground) or in --background_values",
    )


def check_not_empty(case: CaseFiles, settings: Settings, mask: np.ndarray) -> None:
    """Raises UserError if there is no foreground and empty labels are not allowed."""
    if mask.any() or settings.allow_empty_labels:
        return
    raise UserError(
        f"the label of case {case.case_id} is empty: no voxel is {' or '.join(map(str, settings.labels.values))}",
        path=case.label.path,
        remedy="For patients without a lesion, pass --allow_empty_labels; else check the file and --label_values",
    )


def _difference(grid: Grid, expected: Grid, name: str) -> str:
    """Describes the difference between the label's grid and the grid of the image `name`."""
    label, image = grid.reordered()[0], expected.reordered()[0]
    if label.shape != image.shape:
        return (
            f"has shape {grid.shape} and spacing {_mm(grid)}, but not the grid of {name} (shape {expected.shape}, "
            f"spacing {_mm(expected)})"
        )
    corners = np.array([(0, 0, 0, 1), (*(size - 1 for size in label.shape), 1)]).T
    offsets = np.round((label.affine - image.affine) @ corners, 2)[:3].T + 0.0  # no -0.00
    first, last = (", ".join(f"{millimetres:+.2f}" for millimetres in offset) for offset in offsets)
    return (
        f"has the shape of {name}, but not its position: the first voxel is off by ({first}) mm to the right, front "
        f"and head, the last voxel by ({last}) mm"
    )


def _mm(grid: Grid) -> str:
    return " x ".join(f"{spacing:.2f}" for spacing in grid.spacing_mm) + " mm"
