"""A label map from DICOM-SEG or RTSTRUCT objects, on the grid of the images that it was drawn on."""

from __future__ import annotations

import dataclasses
import pathlib
import re

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.files.dicom import class_rois, contours, segmentation
from semicml_tf.files.dicom import libraries as library
from semicml_tf.files.dicom.series import DicomSeries, digest
from semicml_tf.files.layouts.options import LayoutOptions
from semicml_tf.files.nifti import reader
from semicml_tf.geometry.grid import Grid
from semicml_tf.geometry.resample import changed_volume, resample_mask

_LISTED = 20  # names a message lists


@dataclasses.dataclass(frozen=True)
class DicomLabel:
    """A `Source`. Nothing of the objects is read before `read_label`, their headers in the scan excepted.

    Attributes:
        files: the DICOM-SEG and RTSTRUCT objects among which the label is.
        series: the images on whose grid it is wanted; None = a DICOM-SEG's own grid.
        roi: regular expression that the names of its segments or structures hold, in any case of letters; those of
            one object that do are united. "" where there is only one.
        rois: of several classes, the name and the expression of each; `roi` is then not used.
        exclusive: whether those classes exclude each other.
        most_voxels: a label of more is refused.
    """

    files: tuple[pathlib.Path, ...]
    series: DicomSeries | None = None
    roi: str = ""
    rois: tuple[tuple[str, str], ...] = ()
    exclusive: bool = False
    most_voxels: int = dataclasses.field(default=reader.MOST_VOXELS, repr=False, compare=False)

    @classmethod
    def of(cls, files: tuple[pathlib.Path, ...], series: DicomSeries | None, options: LayoutOptions) -> DicomLabel:
        """The label whose segments or structures the user named."""
        return cls(files, series, options.label_roi, tuple(options.label_rois.items()), options.exclusive)

    @property
    def path(self) -> pathlib.Path:
        return self.files[0]

    def missing(self) -> pathlib.Path | None:
        return next((path for path in self.files if not path.is_file()), None)

    def digest(self) -> str:
        return digest(self.files)

    def read_grid(self) -> Grid:
        return self.read_label()[1] if self.series is None else self.series.read_grid()

    def read_volume(self) -> tuple[np.ndarray, Grid]:
        values, grid = self.read_label()
        return values.astype(np.float32), grid

    def read_label(self) -> tuple[np.ndarray, Grid]:
        """int32 0/1 (column, row, slice) and the grid of `series`; of several classes see `class_rois.joined`.

        Raises:
            UserError: no segment or structure is the one that is meant, or more than one object holds it; contours
                without their images; an object that is damaged.
        """
        return self.read_label_with_warnings()[:2]

    def read_label_with_warnings(self) -> tuple[np.ndarray, Grid, tuple[UserError, ...]]:
        """As `read_label`, with what a person should look at: parts that are not used, a volume that changed."""
        with library.door(self.path):
            return self._of_classes() if self.rois else self._of_roi(self.roi)

    def _of_classes(self) -> tuple[np.ndarray, Grid, tuple[UserError, ...]]:
        """All classes of `rois`. A class without a segment or structure is empty, with a warning."""
        masks: dict[str, np.ndarray | None] = {}
        grid, remarks = None, []
        for name, expression in self.rois:
            found, shown = self._matching(expression)
            if not found:
                masks[name] = None
                problem = f"no segment or structure is of the class '{name}', got {shown}"
                remedy = f"If the class was annotated, correct --label_rois={name}=REGEX"
                remarks.append(UserError(problem, path=self.path, remedy=remedy, code="class_missing"))
                continue
            masks[name], own, warnings = self._of_roi(expression)
            remarks += warnings
            if grid is not None and not own.is_close(grid, 1e-6):
                raise UserError(
                    "the classes lie on different grids",
                    path=self.path,
                    remedy="Add the images that they were drawn on",
                )
            grid = own
        if grid is None:
            names = ", ".join(masks)
            raise UserError(
                f"expected a segment or structure of one of the classes {names}, got {shown}",
                path=self.path,
                remedy="Pass --label_rois=NAME=REGEX that match their names",
            )
        empty = np.zeros(grid.shape, np.int32)
        try:
            values = class_rois.joined(
                {name: empty if mask is None else mask for name, mask in masks.items()}, exclusive=self.exclusive
            )
        except UserError as error:
            raise UserError(error.problem, path=self.path, remedy=error.remedy) from error
        return values, grid, tuple(remarks)

    def _of_roi(self, roi: str) -> tuple[np.ndarray, Grid, tuple[UserError, ...]]:
        with library.door(self.path):
            path, dataset, numbers = self._chosen(roi)
            with library.door(path, dataset):
                if _kind(path, dataset) == "RTSTRUCT":
                    return self._of_contours(path, dataset, numbers)
                return self._of_segments(path, dataset, numbers)

    def _of_contours(self, path: pathlib.Path, dataset, numbers):
        if self.series is None:
            raise UserError(
                "contours need the images that they were drawn on, which are not there",
                path=path,
                remedy="Add the series that this RTSTRUCT refers to",
            )
        grid = self.series.read_grid()
        reader.check_voxels(grid.shape, self.most_voxels, path)
        mask, warnings = contours.read_mask(path, dataset, numbers, grid)
        return mask.astype(np.int32), grid, warnings

    def _of_segments(self, path: pathlib.Path, dataset, numbers):
        images = None if self.series is None else segmentation.Images.of(self.series)
        mask, own = segmentation.read_mask(path, dataset, numbers, images, most_voxels=self.most_voxels)
        grid = own if images is None else images.grid
        if own.is_close(grid, 1e-6):
            return mask.astype(np.int32), grid, ()
        moved = resample_mask(mask, own, grid)
        change = changed_volume(mask, own, moved, grid)
        if mask.any() and not moved.any():
            raise UserError(
                f"nothing of the label is left on the grid of its images: {change}",
                path=path,
                remedy="Check that these are the images that it was drawn on",
                code="label_volume_changed",
            )
        warning = UserError(
            f"the label does not lie on the slices of its images, and was resampled: {change}",
            path=path,
            remedy="Look whether these are the images that it was drawn on",
            code="label_volume_changed",
        )
        return moved.astype(np.int32), grid, (warning,) if change else ()

    def _matching(self, roi: str) -> tuple[list, str]:
        """The objects with segments or structures of such names, with their numbers; and all names as text."""
        found, listed = [], []
        for path in self.files:
            dataset = library.read(path)
            kind = _kind(path, dataset)
            with library.door(path, dataset):
                names = (segmentation if kind == "SEG" else contours).names(path, dataset)
            listed += [f"'{name}'" for name in names.values()]
            numbers = [number for number, name in names.items() if re.search(roi, name, re.IGNORECASE)]
            if numbers:
                found.append((path, dataset, numbers))
        shown = ", ".join(listed[:_LISTED]) + (", ..." if len(listed) > _LISTED else "") or "none"
        return found, shown

    def _chosen(self, roi: str):
        """The object that holds the label, and the numbers of its segments or structures."""
        found, shown = self._matching(roi)
        flag = "--label_rois" if self.rois else "--label_roi"
        if not found or (not roi and (len(found) > 1 or len(found[0][2]) > 1)):
            expected = "one that --label_roi matches" if roi else "one"
            raise UserError(
                f"expected {expected} among the segments or structures, got {shown}",
                path=self.path,
                remedy="Pass --label_roi=REGEX that matches the name of the one that is the label",
            )
        if len(found) > 1:
            raise UserError(
                f"{flag} matches names in {len(found)} objects; there are {shown}",
                path=found[1][0],
                remedy=f"Pass a {flag} that matches one object's alone, or move the other object away",
            )
        return found[0]


def _kind(path: pathlib.Path, dataset) -> str:
    kind = str(library.value(dataset, "Modality") or "")
    if kind not in ("SEG", "RTSTRUCT"):
        raise UserError("expected a DICOM-SEG or RTSTRUCT, got another kind", path=path, remedy="Check the label")
    return kind
