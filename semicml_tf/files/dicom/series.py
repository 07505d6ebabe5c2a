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
    """SHA-256 (hex) of files' bytes, whatever their names and order."""
    parts = sorted(reader.sha256(path) for path in files)
    return hashlib.sha256("".join(parts).encode("ascii")).hexdigest()


@dataclasses.dataclass(frozen=True)
class DicomSeries:
    """A `Source`.

    Attributes:
        folder: for messages: the one that holds the files.
        series_uid: SeriesInstanceUID.
        files: all of the series' files.
        damaged: files in the series' folders that may belong to it, but cannot be read.
        most_voxels: a volume of more is refused.
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
        with library.door(self.folder):
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
        with library.door(self.folder):
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
        for index, one in enumerate(ordered):  # one file after the other: a whole series in bytes may be large
            dataset = library.read(one.path)
            with library.door(one.path, dataset):
                values = pixels.read(one.path, dataset, factor[one.path])
            if values.shape != one.shape:
                raise UserError("its pixels are not rows x columns", path=one.path, remedy="Copy it again")
            if not np.isfinite(values).all():
                raise UserError("its rescaled values are not finite", path=one.path, remedy="Check RescaleSlope")
            slices[index] = values
        return slices.transpose(2, 1, 0), grid

    def grid_and_slices(self) -> tuple[Grid, dict[str, slice_geometry.Slice]]:
        """The grid, and where each image lies by SOPInstanceUID; no images of a series of multi-frame files."""
        if self._kind()[1] > 1:
            return self.read_grid(), {}
        with library.door(self.folder):
            headers = self._headers()
            places = {place.path: place for place in self._stack(headers)[0]}
            slices = {str(library.value(dataset, "SOPInstanceUID") or ""): places[path] for path, dataset in headers}
            return self._stack(headers)[1], slices

    def stacked_files(self) -> list[pathlib.Path]:
        """The files in the order of the volume's third index.

        Raises:
            UserError: they are no regular stack of images of one frame each.
        """
        with library.door(self.folder):
            _, frames = self._kind()
            places = [] if frames > 1 else self._stack(self._headers())[0]
        if frames > 1:
            raise UserError(
                "no DICOM-SEG is written on multi-frame files: expected a series of single images",
                path=self.files[0],
                remedy="Write the mask as NIfTI: --output=mask.nii.gz, of folders without --dicom_seg",
            )
        return [place.path for place in places]

    def read_label(self) -> tuple[np.ndarray, Grid]:
        raise UserError(
            "expected a label map, got a series of images",
            path=self.folder,
            remedy="Pass labels as DICOM-SEG, RTSTRUCT or NIfTI",
        )

    def _headers(self, tags: tuple[str | int, ...] = _PLACE_TAGS) -> list[tuple[pathlib.Path, object]]:
        return [(path, library.read(path, tags=tags)) for path in self.files]

    def _kind(self) -> tuple[str, int]:
        """The series' modality (the DICOM code) and the frames of its first file."""
        if self.damaged:
            library.read(self.damaged[0], tags=_PLACE_TAGS)  # tells what is wrong, unless the header just ends
            raise UserError(
                "the file is cut off within its header", path=self.damaged[0], remedy="Copy it again, or remove it"
            )
        header = library.read(self.files[0], tags=_PLACE_TAGS)
        modality = str(library.value(header, "Modality") or "")
        if modality not in scan.IMAGES:
            raise UserError(f"expected {', '.join(scan.IMAGES)}, got another modality", path=self.files[0])
        return modality, dicom_frames.count(self.files[0], header)

    def _stack(self, headers) -> tuple[list[slice_geometry.Slice], Grid]:
        places, instances = [], {}
        for path, dataset in headers:
            if str(library.value(dataset, "SeriesInstanceUID") or "") != self.series_uid:
                raise UserError("the file is of another series than before", path=path, remedy="Run again")
            if dicom_frames.count(path, dataset) > 1:
                enhanced.check(path, str(library.value(dataset, "Modality") or ""), len(self.files))
            pixels.check_grey(path, dataset)
            _check_no_mosaic(path, dataset)
            instance = str(library.value(dataset, "SOPInstanceUID") or path)
            if instance in instances:
                raise UserError(
                    "the same image is there twice, also under another name or in another folder",
                    path=path,
                    remedy="Remove the copy",
                )
            instances[instance] = path
            places.append(slice_geometry.place(path, dataset))
        return slice_geometry.stack(places)


def _check_no_mosaic(path: pathlib.Path, dataset) -> None:
    if "MOSAIC" in scan.words(dataset, "ImageType"):
        raise UserError(
            "expected one slice per image, got a Siemens mosaic, which holds a whole volume in one picture",
            path=path,
            remedy="Convert the series to NIfTI with dcm2niix, which takes the mosaic apart",
        )


def common_folder(paths) -> pathlib.Path:
    """The innermost folder that holds all of these files."""
    parents = [path.parent for path in paths]
    shared = parents[0]
    while not all(shared == parent or shared in parent.parents for parent in parents):
        shared = shared.parent
    return shared


def from_headers(headers: list[scan.Header], damaged: tuple[pathlib.Path, ...] = ()) -> DicomSeries:
    """The series of these headers. Of `damaged`, those in its folders are taken to be its own."""
    files = tuple(header.path for header in headers)
    folders = {path.parent for path in files}
    return DicomSeries(
        common_folder(files), headers[0].series, files, tuple(path for path in damaged if path.parent in folders)
    )


def describe(headers: list[scan.Header]) -> str:
    """``#3 'CT 3 mm' (120 files)``: how a message tells one series from others."""
    return f"#{headers[0].number} '{headers[0].description}' ({len(headers)} files)"


def open_series(folder: str | pathlib.Path, *, description: str = "") -> DicomSeries:
    """The one image series under a folder.

    Args:
        folder: holds the files, at any depth; what is no DICOM image of CT, MR or PET is passed over.
        description: regular expression that the SeriesDescription of the series holds; "" = any.

    Raises:
        UserError: there is no such series, or more than one.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise UserError("expected a folder of DICOM files", path=folder, remedy="Pass the folder of one series")
    found = scan.scan(folder)
    series = scan.by_series(tuple(one for one in found.headers if one.modality in scan.IMAGES))
    chosen = [headers for headers in series.values() if re.search(description, headers[0].description, re.IGNORECASE)]
    if not chosen:
        if found.damaged and not series:
            library.read(found.damaged[0], tags=_PLACE_TAGS)
        problem = f"expected one series of DICOM images (CT, MR or PET), got {len(series) or 'none'}"
        raise UserError(
            problem + (", none of that description" if series else ""),
            path=folder,
            remedy="Pass the folder of one series",
        )
    if len(chosen) > 1:
        raise UserError(
            f"expected one series of DICOM images, got {len(chosen)}: {'; '.join(map(describe, chosen))}",
            path=folder,
            remedy="Move the others away, or pass the folder of the one that is meant",
        )
    return from_headers(chosen[0], found.damaged)
