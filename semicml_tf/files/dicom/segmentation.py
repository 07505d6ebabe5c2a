"""Converts segments of a DICOM-SEG to a mask. Each frame is assigned to the image slice at its ImagePositionPatient.

A DICOM-SEG may store only the slices with foreground. The slice distance is therefore taken from the images, not from
the stored frames. The tags of the object are used only if there are no images, or if the frames do not lie on slices of
the images.
"""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.files.dicom import frames as dicom_frames
from semicml_tf.files.dicom import libraries as library
from semicml_tf.files.dicom import pixels, scan, slice_geometry
from semicml_tf.files.dicom.series import DicomSeries
from semicml_tf.files.dicom.slice_geometry import Slice
from semicml_tf.files.nifti import reader
from semicml_tf.geometry.grid import Grid
from semicml_tf.geometry.resample import resample_mask

_SAME_DISTANCE = 0.25  # relative difference up to which two slice distances count as equal
_GAPLESS = 1.5  # slice thicknesses: closer frames count as neighbours
_KINDS = ("BINARY", "FRACTIONAL", "LABELMAP")


def names(path: pathlib.Path, dataset) -> dict[int, str]:
    """Labels of the segments by number, without the background of a label map."""
    items = library.items(path, dataset, "SegmentSequence")
    labels = {
        library.integer(path, item, "SegmentNumber"): str(library.value(item, "SegmentLabel") or "") for item in items
    }
    labels.pop(0, None)
    return labels


@dataclasses.dataclass(frozen=True)
class _Frame:
    """A stored frame.

    Attributes:
        index: of the frame, from 0.
        segment: number of the segment; None in a label map, where the values of voxels are segment numbers.
        tags: dataset of the tags that apply to the frame.
        sources: UIDs of the source images.
    """

    index: int
    segment: int | None
    tags: object
    sources: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Images:
    """Geometry of the images on which an object was drawn.

    Attributes:
        series_uid: SeriesInstanceUID.
        grid: of the volume.
        slices: by SOPInstanceUID.
        are_referenced: whether the object refers to the images.
    """

    series_uid: str
    grid: Grid
    slices: Mapping[str, Slice]
    are_referenced: bool = False

    @classmethod
    def of(cls, series: DicomSeries) -> Images:
        """Reads the headers of a series."""
        return cls(series.series_uid, *series.grid_and_slices())


def read_mask(
    path: pathlib.Path,
    dataset,
    numbers: Collection[int],
    images: Images | None = None,
    *,
    most_voxels: int = reader.MOST_VOXELS,
) -> tuple[np.ndarray, Grid]:
    """Reads the union of segments as a mask. The threshold of fractional segments is one half.

    Args:
        path: of the DICOM-SEG.
        dataset: the whole DICOM-SEG.
        numbers: of the segments.
        images: on which the object was drawn; None if they are missing.
        most_voxels: largest number of voxels of the mask.

    Returns:
        A bool mask (column, row, slice) and its grid. This is the grid of the images if the frames lie on their slices.
        Otherwise it covers the frames of the object, from the first to the last.

    Raises:
        UserError: the frames lie on no regular grid, the mask is too large, or the object is damaged.
    """
    frames = _frames(path, dataset)
    chosen = [frame for frame in frames if frame.segment is None or frame.segment in numbers]
    if images is not None:
        referenced = images.series_uid in scan.references(dataset)
        referenced = referenced or any(uid in images.slices for frame in chosen for uid in frame.sources)
        images = dataclasses.replace(images, are_referenced=referenced)
    grid = None
    if images is not None:
        slices = [_slice(path, frame, images) for frame in chosen]
        slice_numbers = slice_geometry.slice_numbers(slices, images.grid)
        if slice_numbers is not None and _is_one_slice_per_frame(path, chosen, slices, images):
            grid = images.grid
    if grid is None:
        grid = _grid_of_frames(path, frames, images)
        slices = [_slice(path, frame, images) for frame in chosen]
        slice_numbers = slice_geometry.slice_numbers(slices, grid)
        if slice_numbers is None:
            raise UserError("the frames lie on no regular grid", path=path, remedy="Export the label as NIfTI")
    reader.check_voxels(grid.shape, most_voxels, path)
    return _fill(path, dataset, numbers, chosen, list(zip(slices, slice_numbers)), grid), grid


def _frames(path: pathlib.Path, dataset) -> list[_Frame]:
    kind = library.value(dataset, "SegmentationType")
    if kind not in _KINDS:
        raise UserError(
            f"expected {library.tag_name('SegmentationType')} {', '.join(_KINDS)}, got another value",
            path=path,
            remedy="Export the label again",
        )
    segments = names(path, dataset)
    frames = []
    items = library.items(path, dataset, "PerFrameFunctionalGroupsSequence")
    for index, tags in enumerate(dicom_frames.tags_by_frame(path, dataset)):
        segment = library.optional_number(path, tags, "ReferencedSegmentNumber")
        if segment is None and kind != "LABELMAP":
            if len(segments) != 1:
                raise UserError(
                    f"expected the tag {library.tag_name('ReferencedSegmentNumber')} for frame {index + 1}, got none",
                    path=path,
                    remedy="Export the label again",
                )
            segment = next(iter(segments))
        if kind != "LABELMAP" and segment not in segments:
            raise _undefined_segment(path, int(segment), index)
        frames.append(
            _Frame(
                index,
                None if kind == "LABELMAP" else int(segment),
                tags,
                tuple(dicom_frames.source_images(path, items[index])),
            )
        )
    return frames


def _undefined_segment(path: pathlib.Path, segment: int, index: int) -> UserError:
    return UserError(
        f"frame {index + 1} is of segment {segment}, which {library.tag_name('SegmentSequence')} does not describe",
        path=path,
        remedy="Export the label again",
    )


def _slice(path: pathlib.Path, frame: _Frame, images: Images | None) -> Slice:
    """Geometry of a frame. A frame without position that has one source image is at the position of this image."""
    if library.value(frame.tags, "ImagePositionPatient") is None and images is not None and len(frame.sources) == 1:
        source = images.slices.get(frame.sources[0])
        if source is not None:
            return dataclasses.replace(source, path=path, frame=frame.index)
    return slice_geometry.read_slice(path, frame.tags, frame.index)


def _is_one_slice_per_frame(
    path: pathlib.Path, frames: Sequence[_Frame], slices: Sequence[Slice], images: Images
) -> bool:
    """Whether each frame is one slice of the images, neither several thin slices nor a part of a thick slice."""
    if not frames:
        return True
    step = images.grid.spacing_mm[2]
    smallest_gap = float(slice_geometry.distances(slices).min(initial=np.inf))
    declared = library.optional_number(path, frames[0].tags, "SpacingBetweenSlices")
    if declared and declared > 0:
        return _is_one_slice(min(declared, smallest_gap) / step, images)
    thickness = slices[0].thickness
    if not thickness or thickness <= 0:
        return True
    image_thickness = next((item.thickness for item in images.slices.values()), None)
    if image_thickness is not None and abs(thickness - image_thickness) <= 1e-3 * image_thickness:
        return True
    if images.are_referenced and smallest_gap < (1 - _SAME_DISTANCE) * thickness:  # overlapping slices
        return True
    return _is_one_slice(thickness / step, images)


def _is_one_slice(ratio: float, images: Images) -> bool:
    """Whether a frame is one slice of the images, given the ratio of its thickness to the slice distance.

    A thinner frame counts as a whole slice if the object refers to the images.
    """
    return ratio <= 1 + _SAME_DISTANCE and (images.are_referenced or ratio >= 1 - _SAME_DISTANCE)


def _grid_of_frames(path: pathlib.Path, frames: Sequence[_Frame], images: Images | None) -> Grid:
    """The grid of the frames, with a slice distance from the object's own tags."""
    if not frames:
        raise UserError("the object has no frames", path=path, remedy="Export the label again")
    slices = [_slice(path, frame, images) for frame in frames]
    smallest_gap = float(slice_geometry.distances(slices).min(initial=np.inf))
    declared = library.optional_number(path, frames[0].tags, "SpacingBetweenSlices")
    thickness = slices[0].thickness
    if declared and declared > 0:
        distance = min(declared, smallest_gap)
    elif thickness and thickness > 0:
        distance = smallest_gap if smallest_gap <= _GAPLESS * thickness else thickness
    else:
        raise UserError(
            f"the slice distance is unknown: expected {library.tag_name('SpacingBetweenSlices')} or "
            f"{library.tag_name('SliceThickness')}, or frames on slices of the images",
            path=path,
            remedy="Add the images on which the label was drawn, or export the label as NIfTI",
        )
    return slice_geometry.stack_with_gaps(slices, distance)


def _fill(path, dataset, numbers, frames: Sequence[_Frame], places: Sequence[tuple[Slice, int]], grid: Grid):
    """The mask of `read_mask`; `places` has the geometry and the slice number of each frame."""
    mask = np.zeros(grid.shape, bool)
    fractional = library.value(dataset, "SegmentationType") == "FRACTIONAL"
    maximum = library.optional_number(path, dataset, "MaximumFractionalValue") or 255
    stored = pixels.stored_frames(path, dataset, [frame.index for frame in frames])
    described = {0, *names(path, dataset)}
    seen: dict[tuple[int | None, int], bytes] = {}
    for frame, (item, number), (values, _) in zip(frames, places, stored):
        if frame.segment is None:
            unknown = set(np.unique(values).tolist()) - described
            if unknown:
                raise _undefined_segment(path, min(unknown), frame.index)
            values = np.isin(values, list(numbers))
        else:
            values = values >= maximum / 2 if fractional else values != 0
        digest = hashlib.sha256(np.packbits(values).tobytes()).digest()
        if seen.setdefault((frame.segment, number), digest) != digest:
            raise UserError(
                f"two different frames of segment {frame.segment or 'all'} lie on one slice (frame {frame.index + 1} "
                "is the second)",
                path=path,
                remedy="Export the label of one time point or phase",
            )
        if not values.any():
            continue
        source, target = slice_geometry.on_slice(item, grid, number)
        mask[:, :, number] |= resample_mask(values.T[:, :, None], source, target)[:, :, 0] != 0
    return mask
