"""Converts RTSTRUCT contours to a mask on the grid of the images on which they were drawn.

A voxel belongs to a contour if its centre is inside by the even-odd rule, or on the line. Some programs draw contours
along the edges of voxels, others through their centres. Both conventions yield the same voxels.

Contours of one slice are combined by their position (DICOM PS3.3 C.8.8.6.3). A contour within another contour is a
hole, and a contour within the hole is filled. Contours that overlap, touch or are apart are united. A contour that is
stored twice counts once. Contours of the type CLOSEDPLANAR_XOR are combined by exclusive or.

Polygons are filled by the point-in-polygon test of matplotlib. Libraries for RTSTRUCT use OpenCV, which first rounds
corners to voxel centres, an error of up to half a voxel.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import pathlib

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.files.dicom import libraries as library
from semicml_tf.geometry.grid import Grid

_ON_LINE = 0.01  # of a voxel: contours are often stored to a hundredth of a millimetre
_IN_PLANE = 0.25  # of the slice distance: largest distance of a contour's points from their slice
_CLOSED, _XOR = "CLOSED_PLANAR", "CLOSEDPLANAR_XOR"
_MOST_CONTOURS = 1000  # per structure and slice
_MAX_INDEX = 1e5  # largest voxel index of a point


def names(path: pathlib.Path, dataset) -> dict[int, str]:
    """Names of the structures, by number."""
    return {
        library.integer(path, item, "ROINumber"): str(library.value(item, "ROIName") or "")
        for item in library.items(path, dataset, "StructureSetROISequence")
    }


@dataclasses.dataclass(frozen=True)
class _Contour:
    """A closed contour: its type, and points (n, 3) in mm, in DICOM's axes."""

    kind: str
    points: np.ndarray


def _contours(path: pathlib.Path, dataset, number: int) -> tuple[list[_Contour], collections.Counter[str]]:
    """The closed contours of a structure, and the number of other contours by their description."""
    if "ROIContourSequence" not in dataset:
        raise UserError(
            f"expected the tag {library.tag_name('ROIContourSequence')} with the contours, got none",
            path=path,
            remedy="Copy or export it again",
        )
    closed, unused, structures = [], collections.Counter(), names(path, dataset)
    for item in library.items(path, dataset, "ROIContourSequence"):
        owner, contours = (
            library.integer(path, item, "ReferencedROINumber"),
            library.items(path, item, "ContourSequence"),
        )
        if contours and owner not in structures:
            raise UserError(
                f"{len(contours)} contours belong to a structure that the object does not define (ReferencedROINumber "
                f"{owner})",
                path=path,
                remedy="Export it again",
            )
        for contour in contours if owner == number else ():
            kind = str(library.value(contour, "ContourGeometricType") or "")
            if kind not in (_CLOSED, _XOR):
                known = kind in ("POINT", "OPEN_PLANAR", "OPEN_NONPLANAR")
                unused[f"of the type {kind}" if known else "of no known type"] += 1
                continue
            points = np.atleast_1d(np.array(library.value(contour, "ContourData") or (), dtype=np.float64))
            announced = library.number(contour, "NumberOfContourPoints") or 0
            if len(points) % 3 or announced > len(points) == 0 or not np.isfinite(points).all():
                raise UserError("contour points are no triples of numbers", path=path, remedy="Export it again")
            if len(points):
                closed.append(_Contour(kind, points.reshape(-1, 3)))
            else:
                unused["without points"] += 1
    return closed, unused


def _on_line(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Which of the points (n, 2) lie on the line of the closed polygon (m, 2)."""
    on_line = np.zeros(len(points), bool)
    for start, end in zip(polygon, np.roll(polygon, -1, axis=0)):
        low, high = np.minimum(start, end) - _ON_LINE, np.maximum(start, end) + _ON_LINE
        near = np.flatnonzero(((points >= low) & (points <= high)).all(axis=1))
        if not len(near):
            continue
        edge, offset = end - start, points[near] - start
        along = np.clip(offset @ edge / max(float(edge @ edge), 1e-12), 0, 1)
        on_line[near[np.linalg.norm(offset - along[:, None] * edge, axis=1) <= _ON_LINE]] = True
    return on_line


def _inside(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Which of the points (n, 2) lie in the polygon (m, 2) by the even-odd rule."""
    from matplotlib.path import Path

    return Path(polygon, closed=False).contains_points(points) if len(polygon) > 2 else np.zeros(len(points), bool)


@dataclasses.dataclass(frozen=True, eq=False)
class _Filled:
    """A contour on a slice.

    Attributes:
        polygon: corners (n, 2) as column and row; 0 is the centre of the first voxel.
        area: bool (columns, rows), voxels whose centres are inside.
        line: bool (columns, rows), voxels whose centres are on the line.
    """

    polygon: np.ndarray
    area: np.ndarray
    line: np.ndarray

    @functools.cached_property
    def along(self) -> np.ndarray:
        """Points (n, 2) on the line, usually at most half a voxel apart."""
        points = []
        for start, end in zip(self.polygon, np.roll(self.polygon, -1, axis=0)):
            count = min(int(2 * np.abs(end - start).max()) + 1, 1000)
            points.append(start + np.linspace(0, 1, count, endpoint=False)[:, None] * (end - start))
        return np.concatenate(points)

    def is_within(self, other: _Filled) -> bool:
        """Whether no point of the line is outside the other contour."""
        low, high = other.polygon.min(axis=0) - _ON_LINE, other.polygon.max(axis=0) + _ON_LINE
        if (self.polygon.min(axis=0) < low).any() or (self.polygon.max(axis=0) > high).any():
            return False
        outside = self.along[~_inside(self.along, other.polygon)]
        return not len(outside) or bool(_on_line(outside, other.polygon).all())


def _filled(polygon: np.ndarray, shape: tuple[int, int]) -> _Filled | None:
    """Rasterises a polygon. Returns None if it has no voxel centre of the slice."""
    area, line = np.zeros(shape, bool), np.zeros(shape, bool)
    low = np.maximum(np.floor(polygon.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(polygon.max(axis=0)).astype(int) + 1, shape)
    if (low < high).all():
        window = tuple(slice(a, b) for a, b in zip(low, high))
        points = np.stack(np.mgrid[window], axis=-1).reshape(-1, 2).astype(np.float64)
        area[window] = _inside(points, polygon).reshape(area[window].shape)
        line[window] = _on_line(points, polygon).reshape(area[window].shape)
    return _Filled(polygon, area, line) if area.any() or line.any() else None


def _combined(contours: list[_Filled]) -> np.ndarray:
    """The union of contours without their holes."""
    within = [[inner is not outer and inner.is_within(outer) for outer in contours] for inner in contours]

    @functools.cache
    def region(index: int) -> np.ndarray:
        holes = [other for other in range(len(contours)) if within[other][index]]
        # Only the outermost holes: `region` handles the contours within them.
        direct = [hole for hole in holes if not any(within[hole][other] for other in holes)]
        area = contours[index].area.copy()
        for hole in direct:
            area &= ~region(hole)
        return area

    mask = np.zeros_like(contours[0].area)
    for index in range(len(contours)):
        if not any(within[index]):
            mask |= region(index)
    return mask


def fill(mask: np.ndarray, polygons: list[np.ndarray], *, exclusive: bool = False) -> collections.Counter[str]:
    """Sets the voxels inside polygons in one slice.

    Args:
        mask: (columns, rows) bool, changed in place.
        polygons: corners (n, 2) of each, as column and row; 0 is the centre of the first voxel.
        exclusive: combine the polygons by exclusive or.

    Returns:
        The number of contours that were not used, by description.
    """
    remarks: collections.Counter[str] = collections.Counter()
    contours: list[_Filled] = []
    for polygon in polygons:
        contour = _filled(polygon, mask.shape)
        if contour is None:
            remarks["that enclose no voxel centre"] += 1
        elif not exclusive and any(contour.is_within(other) and other.is_within(contour) for other in contours):
            remarks["that are stored twice"] += 1
        else:
            contours.append(contour)
    if not contours:
        return remarks
    if exclusive:
        mask |= np.logical_xor.reduce([contour.area for contour in contours])
    else:
        mask |= _combined(contours)
    for contour in contours:
        mask |= contour.line
    return remarks


def _gaps(mask: np.ndarray, drawn: list[int]) -> list[tuple[int, int]]:
    """Consecutive drawn slices that are not adjacent, but whose areas overlap in the plane."""
    return [
        (low, high)
        for low, high in zip(drawn, drawn[1:])
        if high - low > 1 and (mask[:, :, low] & mask[:, :, high]).any()
    ]


def _check_gaps(path: pathlib.Path, mask: np.ndarray, drawn: list[int]) -> UserError | None:
    """Returns a warning about gaps between drawn slices, or None.

    Raises:
        UserError: a gap follows most drawn slices, or no two drawn slices are adjacent.
    """
    gaps = _gaps(mask, drawn)
    apart = len(drawn) > 2 and min(np.diff(drawn)) > 1
    if apart or (len(drawn) > 2 and 2 * len(gaps) > len(drawn) - 1):
        raise UserError(
            f"the structure is drawn on {len(drawn)} slices, "
            + ("no two of which are adjacent" if apart else f"with a gap after {len(gaps)} of them"),
            path=path,
            remedy="Interpolate its contours to every slice in the program that drew them",
        )
    if not gaps:
        return None
    missing = sum(high - low - 1 for low, high in gaps)
    low, high = gaps[0]
    return UserError(
        f"{missing} slices without a contour are between slices whose contours overlap, first between slices {low} "
        f"and {high}",
        path=path,
        remedy="Check whether contours are missing there; two separate lesions also look like this",
        code="label_contours",
    )


def read_mask(path: pathlib.Path, dataset, numbers, grid: Grid) -> tuple[np.ndarray, tuple[UserError, ...]]:
    """Reads the union of structures as a mask.

    Args:
        path: of the RTSTRUCT.
        dataset: the whole RTSTRUCT.
        numbers: of the structures. A structure without contours is empty.
        grid: of the images, with indices (column, row, slice).

    Returns:
        A bool mask with the shape of the grid, and warnings about unused contours and gaps between slices.

    Raises:
        UserError: a contour is not in a slice or not closed, or most slices have no contour.
    """
    mask = np.zeros(grid.shape, bool)
    to_index = np.linalg.inv(grid.affine)
    unused: collections.Counter[str] = collections.Counter()
    warnings = []
    for number in numbers:
        contours, others = _contours(path, dataset, number)
        unused += others
        by_slice: dict[int, list[tuple[str, np.ndarray]]] = {}
        for contour in contours:
            points = contour.points * (-1, -1, 1)  # to RAS+
            indices = points @ to_index[:3, :3].T + to_index[:3, 3]
            slice_index = float(indices[:, 2].mean())
            if (
                np.abs(indices).max() > _MAX_INDEX
                or not -0.5 <= slice_index < grid.shape[2] - 0.5
                or (np.abs(indices[:, 2] - round(slice_index)).max() > _IN_PLANE)
            ):
                raise UserError(
                    "a contour lies in no slice of the images on which it was drawn",
                    path=path,
                    remedy="Check that these are its images; contours in other planes are not supported",
                )
            by_slice.setdefault(round(slice_index), []).append((contour.kind, indices[:, :2]))
        structure = np.zeros(grid.shape, bool)
        for slice_index, drawn in by_slice.items():
            if len(drawn) > _MOST_CONTOURS:
                raise UserError(
                    f"expected at most {_MOST_CONTOURS} contours per structure and slice, got {len(drawn)}",
                    path=path,
                    remedy="Export the structure as a DICOM-SEG or NIfTI",
                )
            kinds = {kind for kind, _ in drawn}
            if len(kinds) > 1:
                raise UserError(
                    f"contours of the types {_CLOSED} and {_XOR} lie on one slice; DICOM defines no combination",
                    path=path,
                    remedy="Export the structure with contours of one type",
                )
            unused += fill(structure[:, :, slice_index], [polygon for _, polygon in drawn], exclusive=kinds == {_XOR})
        warnings.append(_check_gaps(path, structure, sorted(by_slice)))
        mask |= structure
    _check_open(path, unused)
    warnings += [
        UserError(
            f"{count} contours {description} are not used",
            path=path,
            remedy="Check the structure in the program that drew it",
            code="label_contours",
        )
        for description, count in sorted(unused.items())
    ]
    return mask, tuple(warning for warning in warnings if warning is not None)


def _check_open(path: pathlib.Path, unused: collections.Counter[str]) -> None:
    """Raises `UserError` if contours are open or of an unknown type."""
    for description, count in unused.items():
        if "OPEN" in description or "no known type" in description:
            raise UserError(
                f"the structure has {count} contours {description}: only closed contours enclose voxels",
                path=path,
                remedy=f"Close them in the program that drew them, so that their type is {_CLOSED}",
            )
