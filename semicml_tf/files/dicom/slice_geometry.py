"""Computes the grid of a stack of slices from the position and orientation of each slice."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.files.dicom import libraries as library
from semicml_tf.geometry.grid import Grid

TAGS = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns", "SliceThickness")

_RAS = np.diag([-1.0, -1.0, 1.0])  # DICOM's axes point to the left, the back and the head
_PARALLEL = 1e-3  # largest difference between the direction cosines of two slices
_SAME_PLACE_MM = 1e-2
_GAP = 0.5  # of the median distance of slices: a distance larger by more means that a slice is missing
_MAX_UNEVENNESS = 0.1  # of the spacing: largest offset of a slice from even spacing
_LENGTHS_MM = 1e-4, 1e5  # smallest and largest plausible pixel size or distance of slices
_MAX_POSITION_MM = 1e6
_ON_SLICE = 0.25  # of the distance of slices: largest offset of a frame from its slice
_MOST_SLICES = 20000
_TILT = 0.5  # of a pixel: largest sideways shift between the first and the last slice


@dataclasses.dataclass(frozen=True)
class Slice:
    """Position, orientation and size of one slice.

    Attributes:
        path: its file.
        position: centre of the first pixel in mm, in DICOM's axes (left, back, head).
        orientation: direction cosines along a row, then along a column.
        pixel_spacing: mm between rows, between columns.
        shape: rows, columns.
        thickness: mm; None if the header has none.
        frame: number of the frame in a multi-frame file, from 0.
    """

    path: pathlib.Path
    position: tuple[float, float, float]
    orientation: tuple[float, ...]
    pixel_spacing: tuple[float, float]
    shape: tuple[int, int]
    thickness: float | None
    frame: int = 0

    @property
    def normal(self) -> np.ndarray:
        """(3,) vector across the slice, of length 1 up to rounding."""
        return np.cross(self.orientation[:3], self.orientation[3:])


def read_slice(path: pathlib.Path, dataset, frame: int = 0) -> Slice:
    """Reads the geometry of a slice from its header, or that of a frame from the tags of the frame.

    Raises:
        UserError: a tag is missing or unusable.
    """
    wanted = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}
    values = {keyword: library.numbers(dataset, keyword, count) for keyword, count in wanted.items()}
    rows, columns = library.number(dataset, "Rows"), library.number(dataset, "Columns")
    missing = [keyword for keyword, numbers in values.items() if numbers is None]
    missing += [keyword for keyword, size in (("Rows", rows), ("Columns", columns)) if not size]
    if missing:
        raise UserError(
            f"expected the tag {library.tag_name(missing[0])}, the geometry of the image, got none",
            path=path,
            remedy="Export the series again from its scanner or archive, or leave it out",
        )
    axes = np.array(values["ImageOrientationPatient"]).reshape(2, 3)
    unusable = {
        "ImageOrientationPatient": np.abs(axes).max() > 2 or np.abs(axes @ axes.T - np.eye(2)).max() > 1e-2,
        "PixelSpacing": not _is_length(*values["PixelSpacing"]),
        "ImagePositionPatient": np.abs(values["ImagePositionPatient"]).max() > _MAX_POSITION_MM,
    }
    for keyword, bad in unusable.items():
        if bad:
            raise UserError(
                f"the tag {library.tag_name(keyword)} has no usable numbers",
                path=path,
                remedy="Export the series again",
            )
    return Slice(
        path,
        values["ImagePositionPatient"],
        values["ImageOrientationPatient"],
        values["PixelSpacing"],
        (int(rows), int(columns)),
        library.number(dataset, "SliceThickness"),
        frame,
    )


def _is_length(*values: float) -> bool:
    """Whether all values are plausible lengths in mm."""
    return all(_LENGTHS_MM[0] <= value <= _LENGTHS_MM[1] for value in values)


def _check_parallel(slices: Sequence[Slice]) -> None:
    """Raises `UserError` if the slices differ in size, orientation or pixel spacing."""
    first = slices[0]
    for other in slices[1:]:
        if other.shape != first.shape:
            raise UserError(
                f"expected slices of one size, got {first.shape[0]} x {first.shape[1]} and "
                f"{other.shape[0]} x {other.shape[1]} rows and columns",
                path=other.path,
                remedy="The series seems to mix two acquisitions: keep one of them",
            )
        if np.abs(np.subtract(first.orientation, other.orientation)).max() > _PARALLEL:
            raise UserError(
                "expected slices of one orientation, got two that are not parallel",
                path=other.path,
                remedy="The series seems to include a localizer or a second acquisition: move it away",
            )
        if np.abs(np.subtract(first.pixel_spacing, other.pixel_spacing)).max() > 1e-3 * min(first.pixel_spacing):
            raise UserError(
                f"expected slices of one {library.tag_name('PixelSpacing')}, got several",
                path=other.path,
                remedy="The series seems to mix two acquisitions: keep one of them",
            )


def _check_even(along: np.ndarray, slices: Sequence[Slice]) -> None:
    """Raises `UserError` if positions (n,) in mm along the normal, ascending, are not evenly spaced."""
    gaps = np.diff(along)
    same = np.flatnonzero(gaps < _SAME_PLACE_MM)
    if len(same):
        raise UserError(
            f"{len(same)} of {len(slices)} images have the position of another image (first at {along[same[0]]:.2f} mm "
            "along the slices' normal)",
            path=slices[same[0] + 1].path,
            remedy="The series mixes acquisitions, phases, echoes or copies of files: keep one of them",
        )
    median = float(np.sort(gaps)[(len(gaps) - 1) // 2])  # the lower median, which is the distance of two slices
    wide = np.flatnonzero(gaps > (1 + _GAP) * median)
    if len(wide):
        at = int(wide[0])
        missing = round(float(gaps[at]) / median) - 1
        raise UserError(
            f"{'a slice is' if missing == 1 else f'{missing} slices are'} missing between the positions "
            f"{along[at]:.2f} and {along[at + 1]:.2f} mm along the slices' normal (the median distance is {median:.2f})"
            + (f", and at {len(wide) - 1} more places" if len(wide) > 1 else ""),
            path=slices[at].path,
            remedy="Add the missing files, or resample the series to even spacing and pass it as NIfTI",
        )
    offsets = np.abs(along - np.linspace(along[0], along[-1], len(along)))
    if offsets.max() > _MAX_UNEVENNESS * median:
        raise UserError(
            f"the slices are not evenly spaced: their distances range from {gaps.min():.3f} to {gaps.max():.3f} mm",
            path=slices[int(offsets.argmax())].path,
            remedy="Resample the series to even spacing, and pass it as NIfTI",
        )


def stack(slices: Sequence[Slice]) -> tuple[list[Slice], Grid]:
    """Sorts slices by position. Returns them and the grid, whose indices are (column, row, slice).

    Slices are sorted along the normal of their plane (row direction x column direction), so that the axes of the grid
    are right-handed. A position may deviate from even spacing by a tenth of the spacing.

    Raises:
        UserError: the slices are no regular stack. The message has the position of the first error.
    """
    _check_parallel(slices)
    first = slices[0]
    normal = first.normal / np.linalg.norm(first.normal)
    ordered = sorted(slices, key=lambda item: (float(normal @ item.position), item.path.name))
    positions = np.array([item.position for item in ordered])
    if len(ordered) == 1:
        if not first.thickness or not _is_length(first.thickness):
            raise UserError(
                f"a series of one slice needs the tag {library.tag_name('SliceThickness')}, got none",
                path=first.path,
                remedy="Add the tag or the other slices",
            )
        step = normal * first.thickness
    else:
        _check_even(positions @ normal, ordered)
        step = (positions[-1] - positions[0]) / (len(ordered) - 1)
        sideways = step - (step @ normal) * normal
        if np.linalg.norm(sideways) * (len(ordered) - 1) > _TILT * min(first.pixel_spacing):
            angle = np.degrees(np.arctan2(np.linalg.norm(sideways), step @ normal))
            raise UserError(
                f"the slices are stacked at an angle of {angle:.1f} degrees to their normal (gantry tilt)",
                path=first.path,
                remedy="Resample the series to a grid with right angles (e.g. with dcm2niix), and pass it as NIfTI",
            )
    return ordered, _grid(first, positions[0], step, len(ordered))


def _grid(like: Slice, origin: np.ndarray, step: np.ndarray, count: int) -> Grid:
    """The grid of `count` slices like `like`; `origin` and `step` are (3,) in mm, in DICOM's axes."""
    affine = np.eye(4)
    axes = np.array(like.orientation).reshape(2, 3)
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    affine[:3, 0] = axes[0] * like.pixel_spacing[1]
    affine[:3, 1] = axes[1] * like.pixel_spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = origin
    affine[:3] = _RAS @ affine[:3]
    return Grid((like.shape[1], like.shape[0], count), affine)


def distances(slices: Sequence[Slice]) -> np.ndarray:
    """Distances (n,) in mm between neighbouring slices along the normal; equal positions count once."""
    normal = slices[0].normal / np.linalg.norm(slices[0].normal)
    along = np.sort([float(normal @ item.position) for item in slices])
    gaps = np.diff(along)
    return gaps[gaps > _SAME_PLACE_MM]


def stack_with_gaps(slices: Sequence[Slice], distance: float) -> Grid:
    """The grid of slices at multiples of a distance. Slices may be missing, and positions may be equal.

    Args:
        slices: at least one.
        distance: mm along the normal. The grid's distance is fitted to the positions.

    Raises:
        UserError: the slices lie on no such grid.
    """
    _check_parallel(slices)
    first = slices[0]
    normal = first.normal / np.linalg.norm(first.normal)
    low, high = (pick(slices, key=lambda item: float(normal @ item.position)) for pick in (min, max))
    steps = distances(slices) / distance
    rounded = np.round(steps)
    count = int(rounded.sum()) + 1
    if not _is_length(distance) or np.abs(steps - rounded).max(initial=0) > _ON_SLICE or count > _MOST_SLICES:
        raise UserError(
            f"the frames are not multiples of {distance:g} mm apart: their distances range from "
            f"{(steps * distance).min(initial=np.inf):.3f} to {(steps * distance).max(initial=0):.3f} mm",
            path=first.path,
            remedy="Add the images on which the label was drawn, or export the label as NIfTI",
        )
    step = normal * distance
    if count > 1:
        step = np.subtract(high.position, low.position) / (count - 1)
        sideways = step - (step @ normal) * normal
        if np.linalg.norm(sideways) * (count - 1) > _TILT * min(first.pixel_spacing):
            raise UserError(
                "the frames are stacked at an angle to their normal", path=first.path, remedy="Export it as NIfTI"
            )
    return _grid(first, np.array(low.position), step, count)


def slice_numbers(slices: Sequence[Slice], grid: Grid) -> list[int] | None:
    """For each slice, the index of the grid's slice at its position; None if a slice does not lie on the grid."""
    to_index = np.linalg.inv(grid.affine)
    numbers = []
    for item in slices:
        slice_grid = _grid(item, np.array(item.position), item.normal, 1)
        sizes = slice_grid.shape[0] - 1, slice_grid.shape[1] - 1
        corners = np.array([(i, j, 0, 1) for i in (0, sizes[0]) for j in (0, sizes[1])])
        heights = (corners @ (to_index @ slice_grid.affine).T)[:, 2]
        number = round(float(heights.mean()))
        if np.abs(heights - number).max() > _ON_SLICE or not 0 <= number < grid.shape[2]:
            return None
        numbers.append(number)
    return numbers


def on_slice(item: Slice, grid: Grid, number: int) -> tuple[Grid, Grid]:
    """Grids to resample a slice to slice `number` of `grid`: the source and the target, each one slice thick."""
    target = grid.cropped((slice(0, grid.shape[0]), slice(0, grid.shape[1]), slice(number, number + 1)))
    source = _grid(item, np.array(item.position), item.normal, 1)
    affine = source.affine.copy()
    affine[:3, 2] = grid.affine[:3, 2]
    # Shift the source along the slice axis onto the target: a rounded position must not weaken the frame.
    height = (np.linalg.inv(target.affine) @ affine[:, 3])[2]
    affine[:3, 3] -= height * grid.affine[:3, 2]
    return Grid(source.shape, affine), target


def from_lps(affine: np.ndarray) -> np.ndarray:
    """Converts a (4, 4) affine from DICOM's axes (left, back, head) to RAS+."""
    return np.vstack([_RAS @ affine[:3], affine[3:]])


def to_lps(affine: np.ndarray) -> np.ndarray:
    """Converts a (4, 4) affine from RAS+ to DICOM's axes, by the same operation as `from_lps`."""
    return from_lps(affine)
