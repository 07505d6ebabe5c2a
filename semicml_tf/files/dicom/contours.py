"""Contours of an RTSTRUCT as a mask on the grid of the images that they were drawn on.

A voxel belongs to a contour if its centre is inside by the even-odd rule, or lies on the line: contours are drawn along
the edges of voxels by some programs and through their centres by others, and both then give their voxels back.

Contours of one slice are combined by how they lie (DICOM PS3.3 C.8.8.6.3): a contour within another one is a hole, a
contour within the hole is filled again; contours that overlap, touch or lie apart are united; a contour that is stored
twice counts once. Contours of the type CLOSEDPLANAR_XOR are combined by exclusive or, as their type says.

matplotlib's point-in-polygon test does the work. The libraries for RTSTRUCT fill polygons by OpenCV, which moves
their corners to voxel centres first: up to half a voxel off.
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
_IN_PLANE = 0.25  # of the slices' distance: how far a contour's points may lie from their slice
_CLOSED, _XOR = "CLOSED_PLANAR", "CLOSEDPLANAR_XOR"
_MOST_CONTOURS = 1000  # of a structure on a slice
_FARTHEST = 1e5  # voxels from the first voxel that a point may lie


def names(path: pathlib.Path, dataset) -> dict[int, str]:
    """The structures' names by their numbers."""
    return {
        library.integer(path, item, "ROINumber"): str(library.value(item, "ROIName") or "")
        for item in library.items(path, dataset, "StructureSetROISequence")
    }


@dataclasses.dataclass(frozen=True)
class _Contour:
    """A closed contour: its type, and (n, 3) points in mm, DICOM's axes."""

    kind: str
    points: np.ndarray


def _contours(path: pathlib.Path, dataset, number: int) -> tuple[list[_Contour], collections.Counter[str]]:
    """The closed contours of a structure, and how many others it has, by what they are."""
    if "ROIContourSequence" not in dataset:
        raise UserError(
            f"expected the tag {library.tag_name('ROIContourSequence')}, which holds the contours, got none",
            path=path,
            remedy="Copy or export it again",
        )
    found, unused, known = [], collections.Counter(), names(path, dataset)
    for item in library.items(path, dataset, "ROIContourSequence"):
        owner, contours = (
            library.integer(path, item, "ReferencedROINumber"),
            library.items(path, item, "ContourSequence"),
        )
        if contours and owner not in known:
            raise UserError(
                f"{len(contours)} contours are of a structure that the object does not name (ReferencedROINumber "
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
                raise UserError("a contour's points are no triples of numbers", path=path, remedy="Export it again")
            if len(points):
                found.append(_Contour(kind, points.reshape(-1, 3)))
            else:
                unused["without points"] += 1
    return found, unused


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


def _inside(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Which of (n, 2) points lie in the polygon (m, 2) by the even-odd rule."""
    from matplotlib.path import Path

    return Path(polygon, closed=False).contains_points(points) if len(polygon) > 2 else np.zeros(len(points), bool)


@dataclasses.dataclass(frozen=True, eq=False)
class _Filled:
    """A contour on a slice.

    Attributes:
        polygon: (n, 2) column and row of its corners; 0 is the first voxel's centre.
        area: bool (columns, rows), the voxels whose centres it encloses.
        line: likewise, those whose centres lie on it.
    """

    polygon: np.ndarray
    area: np.ndarray
    line: np.ndarray

    @functools.cached_property
    def along(self) -> np.ndarray:
        """(n, 2) points on the line, half a voxel apart at most."""
        points = []
        for start, end in zip(self.polygon, np.roll(self.polygon, -1, axis=0)):
            count = min(int(2 * np.abs(end - start).max()) + 1, 1000)
            points.append(start + np.linspace(0, 1, count, endpoint=False)[:, None] * (end - start))
        return np.concatenate(points)

    def is_within(self, other: _Filled) -> bool:
        """Whether no point of its line lies outside the other contour."""
        low, high = other.polygon.min(axis=0) - _ON_LINE, other.polygon.max(axis=0) + _ON_LINE
        if (self.polygon.min(axis=0) < low).any() or (self.polygon.max(axis=0) > high).any():
            return False
        outside = self.along[~_inside(self.along, other.polygon)]
        return not len(outside) or bool(_on_line(outside, other.polygon).all())


def _filled(polygon: np.ndarray, shape: tuple[int, int]) -> _Filled | None:
    """None if the contour reaches no voxel's centre of the slice."""
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
    """The voxels of contours by how they lie: holes are left out, whatever overlaps is united."""
    within = [[inner is not outer and inner.is_within(outer) for outer in contours] for inner in contours]

    @functools.cache
    def region(index: int) -> np.ndarray:
        holes = [other for other in range(len(contours)) if within[other][index]]
        # Of contours within contours, the outermost ones: what lies deeper has its say in their regions.
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
    """Sets the voxels of one slice.

    Args:
        mask: (columns, rows) bool, changed in place.
        polygons: (n, 2) each, column and row of their corners; 0 is the first voxel's centre.
        exclusive: combine them by exclusive or, whatever way they lie.

    Returns:
        How many contours were not used as they are, by what they are.
    """
    remarks: collections.Counter[str] = collections.Counter()
    contours: list[_Filled] = []
    for polygon in polygons:
        one = _filled(polygon, mask.shape)
        if one is None:
            remarks["that enclose no voxel's centre"] += 1
        elif not exclusive and any(one.is_within(other) and other.is_within(one) for other in contours):
            remarks["that are stored twice"] += 1
        else:
            contours.append(one)
    if not contours:
        return remarks
    if exclusive:
        mask |= np.logical_xor.reduce([one.area for one in contours])
    else:
        mask |= _combined(contours)
    for one in contours:
        mask |= one.line
    return remarks


def _left_out(mask: np.ndarray, drawn: list[int]) -> list[tuple[int, int]]:
    """Pairs of drawn slices, neither adjacent nor with a drawn slice between them, whose areas overlap in the plane."""
    return [
        (low, high)
        for low, high in zip(drawn, drawn[1:])
        if high - low > 1 and (mask[:, :, low] & mask[:, :, high]).any()
    ]


def _check_neighbours(path: pathlib.Path, mask: np.ndarray, drawn: list[int]) -> UserError | None:
    """A warning about gaps between drawn slices.

    Raises:
        UserError: most drawn slices are followed by such a gap.
    """
    gaps = _left_out(mask, drawn)
    apart = len(drawn) > 2 and min(np.diff(drawn)) > 1
    if apart or (len(drawn) > 2 and 2 * len(gaps) > len(drawn) - 1):
        raise UserError(
            f"the structure is drawn on {len(drawn)} slices, "
            + ("no two of which are neighbours" if apart else f"with a gap after {len(gaps)} of them"),
            path=path,
            remedy="Interpolate its contours to every slice in the program that drew them",
        )
    if not gaps:
        return None
    missing = sum(high - low - 1 for low, high in gaps)
    low, high = gaps[0]
    return UserError(
        f"{missing} slices without contour lie between contours that lie above each other, the first one between the "
        f"slices {low} and {high}",
        path=path,
        remedy="Look whether a contour is missing there; two lesions may lie so, too",
        code="label_contours",
    )


def read_mask(path: pathlib.Path, dataset, numbers, grid: Grid) -> tuple[np.ndarray, tuple[UserError, ...]]:
    """The union of structures as a mask.

    Args:
        path: of the RTSTRUCT.
        dataset: all of it.
        numbers: of the structures; one without contours is empty.
        grid: of the images, indices column, row, slice.

    Returns:
        bool of the grid's shape, and a warning per kind of contour that is not used, or leaves slices out.

    Raises:
        UserError: a contour that does not lie in one of the slices, or is not closed; most slices left out.
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
            place = float(indices[:, 2].mean())
            if (
                np.abs(indices).max() > _FARTHEST
                or not -0.5 <= place < grid.shape[2] - 0.5
                or (np.abs(indices[:, 2] - round(place)).max() > _IN_PLANE)
            ):
                raise UserError(
                    "a contour lies in none of the slices of the images that it was drawn on",
                    path=path,
                    remedy="Check that these are its images; contours in other planes cannot be read",
                )
            by_slice.setdefault(round(place), []).append((contour.kind, indices[:, :2]))
        one = np.zeros(grid.shape, bool)
        for place, drawn in by_slice.items():
            if len(drawn) > _MOST_CONTOURS:
                raise UserError(
                    f"expected at most {_MOST_CONTOURS} contours per structure and slice, got {len(drawn)}",
                    path=path,
                    remedy="Export the structure as a DICOM-SEG or NIfTI",
                )
            kinds = {kind for kind, _ in drawn}
            if len(kinds) > 1:
                raise UserError(
                    f"contours of the types {_CLOSED} and {_XOR} lie on one slice, which has no defined meaning",
                    path=path,
                    remedy="Export the structure with contours of one type",
                )
            unused += fill(one[:, :, place], [polygon for _, polygon in drawn], exclusive=kinds == {_XOR})
        warnings.append(_check_neighbours(path, one, sorted(by_slice)))
        mask |= one
    _check_open(path, unused)
    warnings += [
        UserError(
            f"{count} contours {what} are not used",
            path=path,
            remedy="Look at the structure in the program that drew it",
            code="label_contours",
        )
        for what, count in sorted(unused.items())
    ]
    return mask, tuple(warning for warning in warnings if warning is not None)


def _check_open(path: pathlib.Path, unused: collections.Counter[str]) -> None:
    """Refuses contours that may enclose something, but are not closed."""
    bad = {what: count for what, count in unused.items() if "OPEN" in what or "no known type" in what}
    for what, count in bad.items():
        raise UserError(
            f"{count} contours {what} are among those of the structure: only closed contours enclose voxels",
            path=path,
            remedy=f"Close them in the program that drew them, so that their type is {_CLOSED}",
        )
