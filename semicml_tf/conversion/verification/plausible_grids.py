"""Checks of two grids that should cover the same box: overlap, ends, slice positions and orientation."""

from __future__ import annotations

import itertools
import os

import numpy as np

from semicml_tf.conversion.verification.findings import Finding
from semicml_tf.errors import UserError
from semicml_tf.geometry.grid import Grid

# A modality that covers less of the reference's box is of another patient or body region.
LEAST_OVERLAP = 0.5
MOST_TURNED_DEGREES = 20.0
# In voxels of the coarser grid. Cropping to whole voxels loses up to half a voxel, a missing slice a whole voxel.
MOST_MISSED_VOXELS = 0.75
# Smallest offset, in slices and in millimetres, between slices of two images that is reported.
LEAST_OFFSET_SLICES, LEAST_OFFSET_MM = 0.25, 0.5
_EQUAL_STEPS = 0.01

_TOWARDS = (("the left", "the right"), ("the back", "the front"), ("the feet", "the head"))


def of_two(
    reference: Grid, grid: Grid, *, case_id: str, reference_name: str, name: str, path: str | os.PathLike
) -> list[Finding]:
    """Findings about the grid of a modality compared with the reference; see `check_overlap` for their overlap."""
    findings = []

    def add(code: str, problem: str, remedy: str) -> None:
        findings.append(Finding.of(code, f"'{name}' {problem}", case=case_id, file=path, remedy=remedy))

    turned = _turned_degrees(reference, grid)
    if turned > MOST_TURNED_DEGREES:
        add(
            "orientation_differs",
            f"is rotated by {turned:.0f} degrees against '{reference_name}'",
            "Check both affines; if they are right, nothing needs to be done",
        )
    ends = _missed(reference, grid)
    if ends:
        add(
            "extent_differs",
            f"ends before '{reference_name}': " + ", ".join(ends),
            f"If lesions lie there, crop '{reference_name}'; otherwise, the border of '{name}' is repeated there",
        )
    offset = _slice_offset(reference, grid)
    if offset is not None:
        step_mm, slices = offset
        add(
            "slices_offset",
            f"has the slice distance of '{reference_name}' ({step_mm:.3g} mm), but an offset of {slices:.2f} slices",
            "Check both affines for an error of half a slice; if they are right, nothing needs to be done",
        )
    return findings


def _directions(grid: Grid) -> np.ndarray:
    return grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0)


def _turned_degrees(first: Grid, other: Grid) -> float:
    """The largest angle between corresponding axes, regardless of flips and the order of axes."""
    cosines = np.abs(_directions(first).T @ _directions(other))
    best = max(min(cosines[axis, p[axis]] for axis in range(3)) for p in itertools.permutations(range(3)))
    return float(np.degrees(np.arccos(min(best, 1.0))))


def _missed(reference: Grid, grid: Grid) -> list[str]:
    """The sides on which the reference's box extends beyond the grid, e.g. "3.3 mm towards the head"."""
    corners = np.array(
        [(*corner, 1.0) for corner in itertools.product(*((-0.5, n / 2 - 0.5, n - 0.5) for n in reference.shape))]
    )
    index = (corners @ (np.linalg.inv(grid.affine) @ reference.affine).T)[:, :3]
    cosines = np.abs(_directions(grid).T @ _directions(reference))
    sides = []
    for axis in range(3):
        step = grid.spacing_mm[axis]
        tolerance = MOST_MISSED_VOXELS * max(step, reference.spacing_mm[int(cosines[axis].argmax())])
        before, beyond = -0.5 - index[:, axis].min(), index[:, axis].max() - (grid.shape[axis] - 0.5)
        for voxels, sign in ((before, -1), (beyond, 1)):
            if voxels * step > tolerance:
                direction = sign * _directions(grid)[:, axis]
                world = int(np.abs(direction).argmax())
                sides.append(f"{voxels * step:.3g} mm towards {_TOWARDS[world][int(direction[world] > 0)]}")
    return sides


def _slice_offset(reference: Grid, grid: Grid) -> tuple[float, float] | None:
    """Slice distance in mm and offset in slices, if both grids have the same slice distance and direction.

    None otherwise, or if the offset is small.
    """
    # The axis with the coarsest spacing; if there are several, the one from feet to head.
    _, (axis, *_), _ = reference.reordered()
    if reference.spacing_mm[axis] < (1 - _EQUAL_STEPS) * max(reference.spacing_mm):
        axis = int(np.argmax(reference.spacing_mm))
    normal = _directions(reference)[:, axis]
    cosines = np.abs(normal @ _directions(grid))
    parallel = int(cosines.argmax())
    step = reference.spacing_mm[axis]
    if cosines[parallel] < np.cos(np.radians(1)) or abs(grid.spacing_mm[parallel] / step - 1) > _EQUAL_STEPS:
        return None
    apart = float(normal @ (grid.affine[:3, 3] - reference.affine[:3, 3])) / step
    offset = abs(apart - round(apart))
    return (step, offset) if offset > LEAST_OFFSET_SLICES and offset * step > LEAST_OFFSET_MM else None


def covered(reference: Grid, other: Grid) -> float:
    """Fraction of the box of `reference` inside the box of `other`, on a lattice of 16 points per axis."""
    steps = [(np.arange(16) + 0.5) / 16 * size - 0.5 for size in reference.shape]
    points = np.array([(*point, 1.0) for point in itertools.product(*steps)])
    indices = (points @ (np.linalg.inv(other.affine) @ reference.affine).T)[:, :3]
    inside = (indices >= -0.5) & (indices <= np.array(other.shape) - 0.5)
    return float(inside.all(axis=1).mean())


def check_overlap(
    reference: Grid, other: Grid, *, case_id: str, reference_name: str, name: str, path: str | os.PathLike
) -> None:
    """Checks that a modality covers enough of the reference's box.

    Args:
        reference, other: grids of the two images.
        case_id, reference_name, name, path: for the message; `name` and `path` belong to the other image.

    Raises:
        UserError: the other grid covers less than `LEAST_OVERLAP` of the box.
    """
    share = covered(reference, other)
    if share < LEAST_OVERLAP:
        raise UserError(
            f"'{name}' of case {case_id} covers {share:.0%} of the box of '{reference_name}', "
            f"expected at least {LEAST_OVERLAP:.0%}",
            path=path,
            remedy="Check that both images are of the same patient and have the right affines, or exclude the case",
        )
