"""From the position and orientation of each slice to one grid, or why there is none."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.files import dicom_library as library
from semicml_tf.geometry.grid import Grid

TAGS = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns", "SliceThickness")

_RAS = np.diag([-1.0, -1.0, 1.0])  # DICOM's axes run to the left, the back and the head
_PARALLEL = 1e-3  # largest difference of two slices' direction cosines
_SAME_PLACE_MM = 1e-2
_GAP = 0.5  # of the usual distance of slices: one that is larger by more lacks a slice
_OFF = 0.1  # of the spacing: how far a slice may lie from where even spacing would put it
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
        thickness: mm; None where the header does not tell.
    """

    path: pathlib.Path
    position: tuple[float, float, float]
    orientation: tuple[float, ...]
    pixel_spacing: tuple[float, float]
    shape: tuple[int, int]
    thickness: float | None

    @property
    def normal(self) -> np.ndarray:
        """(3,) unit vector across the slice."""
        return np.cross(self.orientation[:3], self.orientation[3:])


def place(path: pathlib.Path, dataset) -> Slice:
    """Reads a slice's place from its header.

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
    if np.abs(axes @ axes.T - np.eye(2)).max() > 1e-2 or min(found["PixelSpacing"]) <= 0:
        bad = "PixelSpacing" if min(found["PixelSpacing"]) <= 0 else "ImageOrientationPatient"
        raise UserError(
            f"the tag {library.tag_name(bad)} holds no usable numbers", path=path, remedy="Export the series again"
        )
    return Slice(
        path,
        found["ImagePositionPatient"],
        found["ImageOrientationPatient"],
        found["PixelSpacing"],
        (int(rows), int(columns)),
        library.number(dataset, "SliceThickness"),
    )


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
        if not first.thickness or first.thickness <= 0:
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
    affine = np.eye(4)
    axes = np.array(first.orientation).reshape(2, 3)
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    affine[:3, 0] = axes[0] * first.pixel_spacing[1]
    affine[:3, 1] = axes[1] * first.pixel_spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = positions[0]
    affine[:3] = _RAS @ affine[:3]
    return ordered, Grid((first.shape[1], first.shape[0], len(ordered)), affine)


def from_lps(affine: np.ndarray) -> np.ndarray:
    """A (4, 4) affine to DICOM's axes (left, back, head) as one to RAS+."""
    return np.vstack([_RAS @ affine[:3], affine[3:]])


def to_lps(affine: np.ndarray) -> np.ndarray:
    """The way back of `from_lps`, which is the same."""
    return from_lps(affine)
