"""A label map from DICOM-SEG or RTSTRUCT objects, on the grid of the images on which it was drawn."""

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

_LISTED = 20  # largest number of names in a message


@dataclasses.dataclass(frozen=True)
class DicomLabel:
    """A `Source`. Reads the objects only in `read_label`; the scan has read their headers.

    Attributes:
        files: DICOM-SEG and RTSTRUCT objects, one of which has the label.
        series: the images whose grid the label gets; None for the grid of the DICOM-SEG itself.
        roi: regular expression, searched in the names of segments and structures, ignoring case. All matches in one
            object are united. "" if there is only one segment or structure.
        rois: name and expression of each of several classes, used instead of `roi`.
        exclusive: whether the classes of `rois` exclude each other.
        most_voxels: largest number of voxels of a label.
    """

    files: tuple[pathlib.Path, ...]
    series: DicomSeries | None = None
    roi: str = ""
    rois: tuple[tuple[str, str], ...] = ()
    exclusive: bool = False
    most_voxels: int = dataclasses.field(default=reader.MOST_VOXELS, repr=False, compare=False)

    @classmethod
    def of(cls, files: tuple[pathlib.Path, ...], series: DicomSeries | None, options: LayoutOptions) -> DicomLabel:
        """The label selected by the options of the layout."""
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
        """int32 (column, row, slice) and its grid. Values are 0 and 1; of several classes see `class_rois.joined`.

        Raises:
            UserError: no object matches or several do, the images of contours are missing, or an object is damaged.
        """
        return self.read_label_with_warnings()[:2]

    def read_label_with_warnings(self) -> tuple[np.ndarray, Grid, tuple[UserError, ...]]:
        """As `read_label`, with warnings about unused contours, missing classes and changed volumes."""
        with library.user_errors(self.path):
            return self._of_classes() if self.rois else self._of_roi(self.roi)

    def _of_classes(self) -> tuple[np.ndarray, Grid, tuple[UserError, ...]]:
        """Reads all classes of `rois`. A class without a segment or structure is empty, with a warning."""
        masks: dict[str, np.ndarray | None] = {}
        grid, warnings = None, []
        for name, expression in self.rois:
            matches, available = self._matching(expression)
            if not matches:
                masks[name] = None
                problem = f"expected a segment or structure of the class '{name}', got {available}"
                remedy = f"If the class was annotated, correct --label_rois={name}=REGEX"
                warnings.append(UserError(problem, path=self.path, remedy=remedy, code="class_missing"))
                continue
            masks[name], class_grid, class_warnings = self._of_roi(expression)
            warnings += class_warnings
            if grid is not None and not class_grid.is_close(grid, 1e-6):
                raise UserError(
                    "the classes lie on different grids",
                    path=self.path,
                    remedy="Add the images on which they were drawn",
                )
            grid = class_grid
        if grid is None:
            names = ", ".join(masks)
            raise UserError(
                f"expected a segment or structure of one of the classes {names}, got {available}",
                path=self.path,
                remedy="Pass --label_rois=NAME=REGEX with expressions that match their names",
            )
        empty = np.zeros(grid.shape, np.int32)
        try:
            values = class_rois.joined(
                {name: empty if mask is None else mask for name, mask in masks.items()}, exclusive=self.exclusive
            )
        except UserError as error:
            raise UserError(error.problem, path=self.path, remedy=error.remedy) from error
        return values, grid, tuple(warnings)

    def _of_roi(self, roi: str) -> tuple[np.ndarray, Grid, tuple[UserError, ...]]:
        with library.user_errors(self.path):
            path, dataset, numbers = self._chosen(roi)
            with library.user_errors(path, dataset):
                if _kind(path, dataset) == "RTSTRUCT":
                    return self._of_contours(path, dataset, numbers)
                return self._of_segments(path, dataset, numbers)

    def _of_contours(self, path: pathlib.Path, dataset, numbers):
        if self.series is None:
            raise UserError(
                "the images on which the contours were drawn are missing",
                path=path,
                remedy="Add the series that this RTSTRUCT refers to",
            )
        grid = self.series.read_grid()
        reader.check_voxels(grid.shape, self.most_voxels, path)
        mask, warnings = contours.read_mask(path, dataset, numbers, grid)
        return mask.astype(np.int32), grid, warnings

    def _of_segments(self, path: pathlib.Path, dataset, numbers):
        images = None if self.series is None else segmentation.Images.of(self.series)
        mask, mask_grid = segmentation.read_mask(path, dataset, numbers, images, most_voxels=self.most_voxels)
        grid = mask_grid if images is None else images.grid
        if mask_grid.is_close(grid, 1e-6):
            return mask.astype(np.int32), grid, ()
        moved = resample_mask(mask, mask_grid, grid)
        change = changed_volume(mask, mask_grid, moved, grid)
        if mask.any() and not moved.any():
            raise UserError(
                f"the label is empty after resampling to the grid of its images: {change}",
                path=path,
                remedy="Check that these are the images on which it was drawn",
                code="label_volume_changed",
            )
        warning = UserError(
            f"the label does not lie on the slices of its images, and was resampled: {change}",
            path=path,
            remedy="Check that these are the images on which it was drawn",
            code="label_volume_changed",
        )
        return moved.astype(np.int32), grid, (warning,) if change else ()

    def _matching(self, roi: str) -> tuple[list, str]:
        """Objects with matching names and the numbers of the matches; and a text that lists all names."""
        matches, all_names = [], []
        for path in self.files:
            dataset = library.read(path)
            kind = _kind(path, dataset)
            with library.user_errors(path, dataset):
                names = (segmentation if kind == "SEG" else contours).names(path, dataset)
            all_names += [f"'{name}'" for name in names.values()]
            numbers = [number for number, name in names.items() if re.search(roi, name, re.IGNORECASE)]
            if numbers:
                matches.append((path, dataset, numbers))
        available = ", ".join(all_names[:_LISTED]) + (", ..." if len(all_names) > _LISTED else "") or "none"
        return matches, available

    def _chosen(self, roi: str):
        """The object with the label, and the numbers of its segments or structures."""
        matches, available = self._matching(roi)
        flag = "--label_rois" if self.rois else "--label_roi"
        if not matches or (not roi and (len(matches) > 1 or len(matches[0][2]) > 1)):
            expected = "a match of --label_roi" if roi else "one"
            raise UserError(
                f"expected {expected} among the segments or structures, got {available}",
                path=self.path,
                remedy="Pass --label_roi=REGEX that matches the name of the label",
            )
        if len(matches) > 1:
            raise UserError(
                f"{flag} matches names in {len(matches)} objects, expected one: the names are {available}",
                path=matches[1][0],
                remedy=f"Pass a {flag} that matches names of one object only, or move the other object away",
            )
        return matches[0]


def _kind(path: pathlib.Path, dataset) -> str:
    kind = str(library.value(dataset, "Modality") or "")
    if kind not in ("SEG", "RTSTRUCT"):
        raise UserError("expected a DICOM-SEG or RTSTRUCT, got another object", path=path, remedy="Check the label")
    return kind
