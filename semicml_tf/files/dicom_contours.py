"""Contours of an RTSTRUCT as a mask on the grid of the images that they were drawn on.

A voxel belongs to a structure if its centre is inside the slice's contours by the even-odd rule (a contour within
another is a hole), or lies on one of them: contours are drawn along the edges of voxels by some programs and
through their centres by others, and both then give their voxels back.

matplotlib's point-in-polygon test does the work. The libraries for RTSTRUCT fill polygons by OpenCV, which moves
their corners to voxel centres first: up to half a voxel off.
"""

from __future__ import annotations

import pathlib

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.files import dicom_library as library
from semicml_tf.geometry.grid import Grid

_ON_LINE = 0.01  # of a voxel: contours are often stored to a hundredth of a millimetre
_IN_PLANE = 0.25  # of the slices' distance: how far a contour's points may lie from their slice
_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")


def names(dataset) -> dict[int, str]:
    """The structures' names by their numbers."""
    items = dataset.get("StructureSetROISequence") or ()
    return {int(item.ROINumber): str(library.value(item, "ROIName") or "") for item in items}


def _contours(path: pathlib.Path, dataset, numbers) -> list[np.ndarray]:
    """(n, 3) points in mm, DICOM's axes, of each closed contour of these structures."""
    if "ROIContourSequence" not in dataset:
        raise UserError(
            f"expected the tag {library.tag_name('ROIContourSequence')}, which holds the contours, got none",
            path=path,
            remedy="Copy or export it again",
        )
    found = []
    for item in dataset.ROIContourSequence:
        if int(item.ReferencedROINumber) not in numbers:
            continue
        for contour in item.get("ContourSequence") or ():
            if library.value(contour, "ContourGeometricType") not in _CLOSED:
                continue
            points = np.array(library.value(contour, "ContourData") or (), dtype=np.float64)
            if len(points) % 3 or not np.isfinite(points).all():
                raise UserError("a contour's points are no triples of numbers", path=path, remedy="Export it again")
            if len(points):
                found.append(points.reshape(-1, 3))
    return found


def _on_line(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Which of (n, 2) points lie on the closed polygon (m, 2)."""
    found = np.zeros(len(points), bool)
    for start, end in zip(polygon, np.roll(polygon, -1, axis=0)):
        low, high = np.minimum(start, end) - _ON_LINE, np.maximum(start, end) + _ON_LINE
        near = np.flatnonzero(((points >= low) & (points <= high)).all(axis=1))
        if not len(near):
            continue
        edge, offset = end - start, points[near] - start
        along = np.clip(offset @ edge / max(float(edge @ edge), 1e-12), 0, 1)
        found[near[np.linalg.norm(offset - along[:, None] * edge, axis=1) <= _ON_LINE]] = True
    return found


def fill(mask: np.ndarray, polygons: list[np.ndarray]) -> None:
    """Sets the voxels of one slice.

    Args:
        mask: (columns, rows) bool, changed in place.
        polygons: (n, 2) each, column and row of their corners; 0 is the first voxel's centre.
    """
    from matplotlib.path import Path

    edges = np.zeros_like(mask)
    for polygon in polygons:
        low = np.maximum(np.floor(polygon.min(axis=0)).astype(int), 0)
        high = np.minimum(np.ceil(polygon.max(axis=0)).astype(int) + 1, mask.shape)
        if (low >= high).any():
            continue
        window = tuple(slice(a, b) for a, b in zip(low, high))
        points = np.stack(np.mgrid[window], axis=-1).reshape(-1, 2).astype(np.float64)
        shape = mask[window].shape
        if len(polygon) > 2:
            mask[window] ^= Path(polygon, closed=False).contains_points(points).reshape(shape)
        edges[window] |= _on_line(points, polygon).reshape(shape)
    mask |= edges


def _check_neighbours(path: pathlib.Path, drawn: list[int]) -> None:
    if len(drawn) > 2 and min(np.diff(drawn)) > 1:
        raise UserError(
            f"the structure is drawn on {len(drawn)} slices, no two of which are neighbours",
            path=path,
            remedy="Interpolate its contours to every slice in the program that drew them",
        )


def read_mask(path: pathlib.Path, dataset, numbers, grid: Grid) -> np.ndarray:
    """The union of structures as a mask.

    Args:
        path: of the RTSTRUCT.
        dataset: all of it.
        numbers: of the structures; one without contours is empty.
        grid: of the images, indices column, row, slice.

    Returns:
        bool of the grid's shape.

    Raises:
        UserError: a contour that does not lie in one of the slices; contours on every second slice only.
    """
    mask = np.zeros(grid.shape, bool)
    to_index = np.linalg.inv(grid.affine)
    for number in numbers:
        by_slice: dict[int, list[np.ndarray]] = {}
        for points in _contours(path, dataset, {number}):
            points = points * (-1, -1, 1)  # to RAS+
            indices = points @ to_index[:3, :3].T + to_index[:3, 3]
            place = round(float(indices[:, 2].mean()))
            if np.abs(indices[:, 2] - place).max() > _IN_PLANE or not 0 <= place < grid.shape[2]:
                raise UserError(
                    "a contour lies in none of the slices of the images that it was drawn on",
                    path=path,
                    remedy="Check that these are its images; contours in other planes cannot be read",
                )
            by_slice.setdefault(place, []).append(indices[:, :2])
        _check_neighbours(path, sorted(by_slice))
        for place, polygons in by_slice.items():
            one = np.zeros(grid.shape[:2], bool)
            fill(one, polygons)
            mask[:, :, place] |= one
    return mask
