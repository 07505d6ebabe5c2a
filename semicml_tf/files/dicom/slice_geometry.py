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

_RAS = np.diag([-1.0, -1.0, 1.0])  # DICOM's axes run to the left, the back and the head
_PARALLEL = 1e-3  # largest difference of two slices' direction cosines
_SAME_PLACE_MM = 1e-2
_GAP = 0.5  # of the usual distance of slices: one that is larger by more lacks a slice
_OFF = 0.1  # of the spacing: how far a slice may lie from where even spacing would put it
_LENGTHS_MM = 1e-4, 1e5  # what a pixel or the distance of slices may measure at all
_FARTHEST_MM = 1e6  # of a position
_ON_SLICE = 0.25  # of the distance of slices: how far a frame may lie from the slice that it belongs to
_MOST_SLICES = 20000
_TILT = 0.5  # of a pixel, from the first slice to the last


@dataclasses.dataclass(frozen=True)
class Slice:
    """Where one image lies.

    Attributes:
        path: its file.
        position: of its first pixel's centre, mm, in DICOM's axes (left, back, head).
        orientation: direction cosines along a row, then along a column.
        pixel_spacing: mm between rows, between columns.
        shape: rows, columns.
        thickness: mm; None where the header has none.
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
        """(3,) unit vector across the slice."""
        return np.cross(self.orientation[:3], self.orientation[3:])


def place(path: pathlib.Path, dataset, frame: int = 0) -> Slice:
    """Reads a slice's place from its header, or that of a frame from the tags that apply to the frame.

    Raises:
        UserError: a tag is missing or unusable.
    """
    wanted = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}
    found = {keyword: library.numbers(dataset, keyword, count) for keyword, count in wanted.items()}
    rows, columns = library.number(dataset, "Rows"), library.number(dataset, "Columns")
    missing = [keyword for keyword, numbers in found.items() if numbers is None]
    missing += [keyword for keyword, size in (("Rows", rows), ("Columns", columns)) if not size]
    if missing:
        raise UserError(
            f"expected the tag {library.tag_name(missing[0])}, which tells where the image lies, got none",
            path=path,
            remedy="Export the series again from its scanner or archive, or leave it out",
        )
    axes = np.array(found["ImageOrientationPatient"]).reshape(2, 3)
    unusable = {
        "ImageOrientationPatient": np.abs(axes).max() > 2 or np.abs(axes @ axes.T - np.eye(2)).max() > 1e-2,
        "PixelSpacing": not _is_length(*found["PixelSpacing"]),
        "ImagePositionPatient": np.abs(found["ImagePositionPatient"]).max() > _FARTHEST_MM,
    }
    for keyword, bad in unusable.items():
        if bad:
            raise UserError(
                f"the tag {library.tag_name(keyword)} holds no usable numbers",
                path=path,
                remedy="Export the series again",
            )
    return Slice(
        path,
        found["ImagePositionPatient"],
        found["ImageOrientationPatient"],
        found["PixelSpacing"],
        (int(rows), int(columns)),
        library.number(dataset, "SliceThickness"),
        frame,
    )


def _is_length(*values: float) -> bool:
    """Whether all are lengths in mm that something can have."""
    return all(_LENGTHS_MM[0] <= value <= _LENGTHS_MM[1] for value in values)


def _check_alike(slices: Sequence[Slice]) -> None:
    first = slices[0]
    for other in slices[1:]:
        if other.shape != first.shape:
            raise UserError(
                f"expected slices of one size, got {first.shape[0]} x {first.shape[1]} and "
                f"{other.shape[0]} x {other.shape[1]} rows and columns",
                path=other.path,
                remedy="Two acquisitions seem to be mixed: leave one in the series",
            )
        if np.abs(np.subtract(first.orientation, other.orientation)).max() > _PARALLEL:
            raise UserError(
                "expected slices of one orientation, got some at an angle to others",
                path=other.path,
                remedy="A localizer or a second acquisition seems to be mixed in: move it away",
            )
        if np.abs(np.subtract(first.pixel_spacing, other.pixel_spacing)).max() > 1e-3 * min(first.pixel_spacing):
            raise UserError(
                f"expected slices of one {library.tag_name('PixelSpacing')}, got several",
                path=other.path,
                remedy="Two acquisitions seem to be mixed: leave one in the series",
            )


def _check_even(along: np.ndarray, slices: Sequence[Slice]) -> None:
    """Refuses positions (n,) in mm along the normal, ascending, that are not evenly spaced."""
    gaps = np.diff(along)
    same = np.flatnonzero(gaps < _SAME_PLACE_MM)
    if len(same):
        raise UserError(
            f"{len(same)} of {len(slices)} images lie where another one lies (first at {along[same[0]]:.2f} mm "
            "along the slices' normal)",
            path=slices[same[0] + 1].path,
            remedy="Several acquisitions, phases or echoes, or copies of files, are mixed in this series: leave one",
        )
    usual = float(np.sort(gaps)[(len(gaps) - 1) // 2])  # the lower median: one that occurs
    wide = np.flatnonzero(gaps > (1 + _GAP) * usual)
    if len(wide):
        at = int(wide[0])
        missing = round(float(gaps[at]) / usual) - 1
        raise UserError(
            f"{'a slice is' if missing == 1 else f'{missing} slices are'} missing between the positions "
            f"{along[at]:.2f} and {along[at + 1]:.2f} mm along the slices' normal (their usual distance is {usual:.2f})"
            + (f", and so at {len(wide) - 1} more places" if len(wide) > 1 else ""),
            path=slices[at].path,
            remedy="Add the missing files, or resample the series to even spacing and pass it as NIfTI",
        )
    off = np.abs(along - np.linspace(along[0], along[-1], len(along)))
    if off.max() > _OFF * usual:
        raise UserError(
            f"the slices are not evenly spaced: their distance goes from {gaps.min():.3f} to {gaps.max():.3f} mm",
            path=slices[int(off.argmax())].path,
            remedy="Resample the series to even spacing, and pass it as NIfTI",
        )


def stack(slices: Sequence[Slice]) -> tuple[list[Slice], Grid]:
    """Slices in the order of the third index, and the grid whose indices are column, row, slice.

    Slices are sorted along the normal of their plane (row direction x column direction), so that the grid's
    axes are right-handed. Positions may deviate from even spacing by a tenth of it.

    Raises:
        UserError: the slices are no regular stack; the message says where.
    """
    _check_alike(slices)
    first = slices[0]
    normal = first.normal / np.linalg.norm(first.normal)
    ordered = sorted(slices, key=lambda one: (float(normal @ one.position), one.path.name))
    positions = np.array([one.position for one in ordered])
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
        aside = step - (step @ normal) * normal
        if np.linalg.norm(aside) * (len(ordered) - 1) > _TILT * min(first.pixel_spacing):
            angle = np.degrees(np.arctan2(np.linalg.norm(aside), step @ normal))
            raise UserError(
                f"the slices are stacked at an angle of {angle:.1f} degrees to their normal (gantry tilt)",
                path=first.path,
                remedy="Resample the series to a grid of right angles (dcm2niix does), and pass it as NIfTI",
            )
    return ordered, _grid(first, positions[0], step, len(ordered))


def _grid(like: Slice, origin: np.ndarray, step: np.ndarray, count: int) -> Grid:
    """`count` slices like this one from `origin` on, `step` mm apart, both (3,) in DICOM's axes."""
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
    """(n,) mm between neighbours along the normal, ascending, of slices that lie at n + 1 places."""
    normal = slices[0].normal / np.linalg.norm(slices[0].normal)
    along = np.sort([float(normal @ one.position) for one in slices])
    gaps = np.diff(along)
    return gaps[gaps > _SAME_PLACE_MM]


def stack_with_gaps(slices: Sequence[Slice], distance: float) -> Grid:
    """The grid on which slices lie at whole multiples of a distance, any of which may be missing or there twice.

    Args:
        slices: at least one.
        distance: mm along the normal; refined to what the positions say.

    Raises:
        UserError: they lie on no such grid.
    """
    _check_alike(slices)
    first = slices[0]
    normal = first.normal / np.linalg.norm(first.normal)
    low, high = (pick(slices, key=lambda one: float(normal @ one.position)) for pick in (min, max))
    steps = distances(slices) / distance
    whole = np.round(steps)
    count = int(whole.sum()) + 1
    if not _is_length(distance) or np.abs(steps - whole).max(initial=0) > _ON_SLICE or count > _MOST_SLICES:
        raise UserError(
            f"the frames are not multiples of {distance:g} mm apart: their distances go from "
            f"{(steps * distance).min(initial=np.inf):.3f} to {(steps * distance).max(initial=0):.3f} mm",
            path=first.path,
            remedy="Add the images that the label was drawn on, or export the label as NIfTI",
        )
    step = normal * distance
    if count > 1:
        step = np.subtract(high.position, low.position) / (count - 1)
        aside = step - (step @ normal) * normal
        if np.linalg.norm(aside) * (count - 1) > _TILT * min(first.pixel_spacing):
            raise UserError(
                "the frames are stacked at an angle to their normal", path=first.path, remedy="Export it as NIfTI"
            )
    return _grid(first, np.array(low.position), step, count)


def slice_numbers(slices: Sequence[Slice], grid: Grid) -> list[int] | None:
    """For each slice the index of the grid's slice that it lies on; None if one lies on none, or at an angle."""
    to_index = np.linalg.inv(grid.affine)
    numbers = []
    for one in slices:
        own = _grid(one, np.array(one.position), one.normal, 1)
        sizes = own.shape[0] - 1, own.shape[1] - 1
        corners = np.array([(i, j, 0, 1) for i in (0, sizes[0]) for j in (0, sizes[1])])
        heights = (corners @ (to_index @ own.affine).T)[:, 2]
        number = round(float(heights.mean()))
        if np.abs(heights - number).max() > _ON_SLICE or not 0 <= number < grid.shape[2]:
            return None
        numbers.append(number)
    return numbers


def on_slice(one: Slice, grid: Grid, number: int) -> tuple[Grid, Grid]:
    """The grid of a slice's own pixels, and that of the slice of `grid` on which it lies; both are one slice thick."""
    target = grid.cropped((slice(0, grid.shape[0]), slice(0, grid.shape[1]), slice(number, number + 1)))
    own = _grid(one, np.array(one.position), one.normal, 1)
    affine = own.affine.copy()
    affine[:3, 2] = grid.affine[:3, 2]
    # Moved along the slices' axis, to lie in the slice: rounded positions must not fade a frame.
    height = (np.linalg.inv(target.affine) @ affine[:, 3])[2]
    affine[:3, 3] -= height * grid.affine[:3, 2]
    return Grid(own.shape, affine), target


def from_lps(affine: np.ndarray) -> np.ndarray:
    """A (4, 4) affine to DICOM's axes (left, back, head) as one to RAS+."""
    return np.vstack([_RAS @ affine[:3], affine[3:]])


def to_lps(affine: np.ndarray) -> np.ndarray:
    """The way back of `from_lps`, which is the same."""
    return from_lps(affine)
