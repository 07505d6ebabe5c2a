"""A series of DICOM files as one volume: CT in HU, PET in SUV-bw, MR as stored."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
import re

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.files.dicom import enhanced, pixels, scan, slice_geometry, suv
from semicml_tf.files.dicom import frames as dicom_frames
from semicml_tf.files.dicom import libraries as library
from semicml_tf.files.nifti import reader
from semicml_tf.geometry.grid import Grid

_PLACE_TAGS = ("SeriesInstanceUID", "SOPInstanceUID", "Modality", "ImageType", *pixels.TAGS, *slice_geometry.TAGS)
_TAGS = (*_PLACE_TAGS, *suv.TAGS, *suv.PRIVATE_TAGS)


def digest(files: tuple[pathlib.Path, ...]) -> str:
    """SHA-256 (hex) of the content of files; their names and order do not matter."""
    parts = sorted(reader.sha256(path) for path in files)
    return hashlib.sha256("".join(parts).encode("ascii")).hexdigest()


@dataclasses.dataclass(frozen=True)
class DicomSeries:
    """A `Source`.

    Attributes:
        folder: the innermost folder with all files, for messages.
        series_uid: SeriesInstanceUID.
        files: all files of the series.
        damaged: files in the folders of the series that cannot be read, and may belong to the series.
        most_voxels: largest number of voxels of a volume.
    """

    folder: pathlib.Path
    series_uid: str
    files: tuple[pathlib.Path, ...]
    damaged: tuple[pathlib.Path, ...] = ()
    most_voxels: int = dataclasses.field(default=reader.MOST_VOXELS, repr=False, compare=False)

    @property
    def path(self) -> pathlib.Path:
        return self.folder

    def missing(self) -> pathlib.Path | None:
        return next((path for path in self.files if not path.is_file()), None)

    def digest(self) -> str:
        return digest(self.files)

    def read_grid(self) -> Grid:
        with library.user_errors(self.folder):
            modality, frames = self._kind()
            if frames > 1:
                enhanced.check(self.files[0], modality, len(self.files))
                return enhanced.read_grid(self.files[0])
            return self._stack(self._headers())[1]

    def read_volume(self) -> tuple[np.ndarray, Grid]:
        """float32 (column, row, slice) in native units, and the grid, whose third axis is the slices' normal.

        Raises:
            UserError: the slices are no regular stack, a pixel cannot be decoded, or SUV cannot be computed.
        """
        with library.user_errors(self.folder):
            return self._read_volume()

    def _read_volume(self) -> tuple[np.ndarray, Grid]:
        modality, frames = self._kind()
        if frames > 1:
            enhanced.check(self.files[0], modality, len(self.files))
            return enhanced.read_volume(self.files[0], self.most_voxels)
        headers = self._headers(_TAGS)
        ordered, grid = self._stack(headers)
        reader.check_voxels(grid.shape, self.most_voxels, self.folder)
        factors = suv.factors(headers) if modality == "PT" else np.ones(len(headers))
        factor = dict(zip(self.files, factors))
        slices = np.empty(grid.shape[::-1], np.float32)
        for index, item in enumerate(ordered):  # one file at a time, to save memory
            dataset = library.read(item.path)
            with library.user_errors(item.path, dataset):
                values = pixels.read(item.path, dataset, factor[item.path])
            if values.shape != item.shape:
                raise UserError("the pixels are not rows x columns", path=item.path, remedy="Copy it again")
            if not np.isfinite(values).all():
                raise UserError("the rescaled values are not finite", path=item.path, remedy="Check RescaleSlope")
            slices[index] = values
        return slices.transpose(2, 1, 0), grid

    def grid_and_slices(self) -> tuple[Grid, dict[str, slice_geometry.Slice]]:
        """The grid, and the slices by SOPInstanceUID. A series of multi-frame files has no slices."""
        if self._kind()[1] > 1:
            return self.read_grid(), {}
        with library.user_errors(self.folder):
            headers = self._headers()
            ordered, grid = self._stack(headers)
            by_path = {item.path: item for item in ordered}
            uids = {path: str(library.value(dataset, "SOPInstanceUID") or "") for path, dataset in headers}
            return grid, {uid: by_path[path] for path, uid in uids.items()}

    def stacked_files(self) -> list[pathlib.Path]:
        """The files in the order of the volume's third index.

        Raises:
            UserError: the files are no regular stack of images with one frame each.
        """
        with library.user_errors(self.folder):
            _, frames = self._kind()
            slices = [] if frames > 1 else self._stack(self._headers())[0]
        if frames > 1:
            raise UserError(
                "a DICOM-SEG cannot refer to multi-frame files: expected one image per file",
                path=self.files[0],
                remedy="Write the mask as NIfTI: --output=mask.nii.gz, or omit --dicom_seg for folders",
            )
        return [item.path for item in slices]

    def read_label(self) -> tuple[np.ndarray, Grid]:
        raise UserError(
            "expected a label map, got a series of images",
            path=self.folder,
            remedy="Pass labels as DICOM-SEG, RTSTRUCT or NIfTI",
        )

    def _headers(self, tags: tuple[str | int, ...] = _PLACE_TAGS) -> list[tuple[pathlib.Path, object]]:
        return [(path, library.read(path, tags=tags)) for path in self.files]

    def _kind(self) -> tuple[str, int]:
        """The modality of the series (the DICOM code) and the number of frames in its first file."""
        if self.damaged:
            library.read(self.damaged[0], tags=_PLACE_TAGS)  # raises a precise error, except for truncation
            raise UserError(
                "the file is cut off within its header", path=self.damaged[0], remedy="Copy it again, or remove it"
            )
        header = library.read(self.files[0], tags=_PLACE_TAGS)
        modality = str(library.value(header, "Modality") or "")
        if modality not in scan.IMAGES:
            raise UserError(f"expected {', '.join(scan.IMAGES)}, got another modality", path=self.files[0])
        return modality, dicom_frames.count(self.files[0], header)

    def _stack(self, headers) -> tuple[list[slice_geometry.Slice], Grid]:
        slices, instances = [], {}
        for path, dataset in headers:
            if str(library.value(dataset, "SeriesInstanceUID") or "") != self.series_uid:
                raise UserError("the file now belongs to another series", path=path, remedy="Run again")
            if dicom_frames.count(path, dataset) > 1:
                enhanced.check(path, str(library.value(dataset, "Modality") or ""), len(self.files))
            pixels.check_grey(path, dataset)
            _check_no_mosaic(path, dataset)
            instance = str(library.value(dataset, "SOPInstanceUID") or path)
            if instance in instances:
                raise UserError("the file is a copy of another image", path=path, remedy="Remove the copy")
            instances[instance] = path
            slices.append(slice_geometry.read_slice(path, dataset))
        return slice_geometry.stack(slices)


def _check_no_mosaic(path: pathlib.Path, dataset) -> None:
    if "MOSAIC" in scan.texts(dataset, "ImageType"):
        raise UserError(
            "expected one slice per image, got a Siemens mosaic, which stores a whole volume as one image",
            path=path,
            remedy="Convert the series to NIfTI with dcm2niix, which splits the mosaic",
        )


def common_folder(paths) -> pathlib.Path:
    """The innermost folder with all of the files."""
    parents = [path.parent for path in paths]
    shared = parents[0]
    while not all(shared == parent or shared in parent.parents for parent in parents):
        shared = shared.parent
    return shared


def from_headers(headers: list[scan.Header], damaged: tuple[pathlib.Path, ...] = ()) -> DicomSeries:
    """The series with these headers. Files of `damaged` in the same folders are counted as its own."""
    files = tuple(header.path for header in headers)
    folders = {path.parent for path in files}
    return DicomSeries(
        common_folder(files), headers[0].series, files, tuple(path for path in damaged if path.parent in folders)
    )


def describe(headers: list[scan.Header]) -> str:
    """A series in messages, e.g. ``#3 'CT 3 mm' (120 files)``."""
    return f"#{headers[0].number} '{headers[0].description}' ({len(headers)} files)"


def open_series(folder: str | pathlib.Path, *, description: str = "") -> DicomSeries:
    """The one image series under a folder.

    Args:
        folder: searched at any depth. Files that are no DICOM images of CT, MR or PET are ignored.
        description: regular expression, searched in the SeriesDescription; "" = any series.

    Raises:
        UserError: there is no such series, or more than one.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise UserError("expected a folder of DICOM files", path=folder, remedy="Pass the folder of one series")
    content = scan.scan(folder)
    series = scan.by_series(tuple(header for header in content.headers if header.modality in scan.IMAGES))
    chosen = [headers for headers in series.values() if re.search(description, headers[0].description, re.IGNORECASE)]
    if not chosen:
        if content.damaged and not series:
            library.read(content.damaged[0], tags=_PLACE_TAGS)
        problem = f"expected one series of DICOM images (CT, MR or PET), got {len(series) or 'none'}"
        raise UserError(
            problem + (", none with that description" if series else ""),
            path=folder,
            remedy="Pass the folder of one series",
        )
    if len(chosen) > 1:
        raise UserError(
            f"expected one series of DICOM images, got {len(chosen)}: {'; '.join(map(describe, chosen))}",
            path=folder,
            remedy="Move the others away, or pass the folder of one series",
        )
    return from_headers(chosen[0], content.damaged)
