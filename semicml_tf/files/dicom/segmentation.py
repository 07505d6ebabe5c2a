"""Segments of a DICOM-SEG as a mask: each frame is placed on the image slice at its ImagePositionPatient.

A DICOM-SEG may store only the slices with foreground. The distance of stored frames therefore says nothing about the
distance of slices, which is taken from the images. The object's own tags count only where its frames do not lie on
slices of the images, or where there are no images.
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

_SAME_DISTANCE = 0.25  # by how much two distances of slices may differ and mean the same slices
_GAPLESS = 1.5  # thicknesses: frames that lie closer are taken for neighbours
_KINDS = ("BINARY", "FRACTIONAL", "LABELMAP")


def names(path: pathlib.Path, dataset) -> dict[int, str]:
    """The segments' labels by their numbers, without the background of a label map."""
    items = library.items(path, dataset, "SegmentSequence")
    found = {
        library.integer(path, item, "SegmentNumber"): str(library.value(item, "SegmentLabel") or "") for item in items
    }
    found.pop(0, None)
    return found


@dataclasses.dataclass(frozen=True)
class _Frame:
    """A stored frame.

    Attributes:
        segment: number of its segment; None in a label map, whose values are the segments.
        tags: what applies to it.
        sources: UIDs of the images that it was derived from.
    """

    index: int
    segment: int | None
    tags: object
    sources: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Images:
    """What is known of the images that an object was drawn on.

    Attributes:
        series_uid: SeriesInstanceUID.
        grid: of their volume.
        slices: where each lies, by SOPInstanceUID.
        are_named: whether the object refers to them.
    """

    series_uid: str
    grid: Grid
    slices: Mapping[str, Slice]
    are_named: bool = False

    @classmethod
    def of(cls, series: DicomSeries) -> Images:
        """Reads their headers."""
        return cls(series.series_uid, *series.grid_and_slices())


def read_mask(
    path: pathlib.Path,
    dataset,
    numbers: Collection[int],
    images: Images | None = None,
    *,
    most_voxels: int = reader.MOST_VOXELS,
) -> tuple[np.ndarray, Grid]:
    """The union of segments as a mask; of fractional ones what is at least one half.

    Args:
        path: of the DICOM-SEG.
        dataset: all of it.
        numbers: of the segments.
        images: that it was drawn on; None if they are not there.
        most_voxels: a mask of more is refused.

    Returns:
        bool (column, row, slice), and its grid. It is that of the images where the frames lie on slices of the images,
        else that of the object's own frames, from the first to the last one.

    Raises:
        UserError: the frames lie on no regular grid, or the object is damaged.
    """
    frames = _frames(path, dataset)
    chosen = [one for one in frames if one.segment is None or one.segment in numbers]
    if images is not None:
        named = images.series_uid in scan.references(dataset)
        named = named or any(uid in images.slices for one in chosen for uid in one.sources)
        images = dataclasses.replace(images, are_named=named)
    grid = places = None
    if images is not None:
        placed = [_place(path, one, images) for one in chosen]
        heights = slice_geometry.slice_numbers(placed, images.grid)
        if heights is not None and _is_one_slice_per_frame(path, chosen, placed, images):
            grid, places = images.grid, list(zip(placed, heights))
    if grid is None:
        grid = _own_grid(path, frames, images)
        placed = [_place(path, one, images) for one in chosen]
        heights = slice_geometry.slice_numbers(placed, grid)
        if heights is None:
            raise UserError("its frames lie on no regular grid", path=path, remedy="Export the label as NIfTI")
        places = list(zip(placed, heights))
    reader.check_voxels(grid.shape, most_voxels, path)
    return _fill(path, dataset, numbers, chosen, places, grid), grid


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
            raise _unknown(path, int(segment), index)
        frames.append(
            _Frame(
                index,
                None if kind == "LABELMAP" else int(segment),
                tags,
                tuple(dicom_frames.source_images(path, items[index])),
            )
        )
    return frames


def _unknown(path: pathlib.Path, segment: int, index: int) -> UserError:
    return UserError(
        f"frame {index + 1} is of segment {segment}, which {library.tag_name('SegmentSequence')} does not describe",
        path=path,
        remedy="Export the label again",
    )


def _place(path: pathlib.Path, frame: _Frame, images: Images | None) -> Slice:
    """Where a frame lies: at its position, or, without one, where the one image lies that it names."""
    if library.value(frame.tags, "ImagePositionPatient") is None and images is not None and len(frame.sources) == 1:
        source = images.slices.get(frame.sources[0])
        if source is not None:
            return dataclasses.replace(source, path=path, frame=frame.index)
    return slice_geometry.place(path, frame.tags, frame.index)


def _is_one_slice_per_frame(
    path: pathlib.Path, frames: Sequence[_Frame], places: Sequence[Slice], images: Images
) -> bool:
    """Whether a frame stands for one slice of the images, and not for several thin ones, or a part of a thick one."""
    if not frames:
        return True
    step = images.grid.spacing_mm[2]
    gaps = slice_geometry.distances(places)
    least = float(gaps.min(initial=np.inf))
    declared = library.optional_number(path, frames[0].tags, "SpacingBetweenSlices")
    if declared and declared > 0:
        return _may_be_one(min(declared, least) / step, images)
    thickness = places[0].thickness
    if not thickness or thickness <= 0:
        return True
    of_images = next((one.thickness for one in images.slices.values()), None)
    if of_images is not None and abs(thickness - of_images) <= 1e-3 * of_images:
        return True
    if images.are_named and least < (1 - _SAME_DISTANCE) * thickness:  # slices that overlap
        return True
    return _may_be_one(thickness / step, images)


def _may_be_one(ratio: float, images: Images) -> bool:
    """Whether a frame of so many slices' thickness is one slice.

    A frame that says it is thinner than the image that it names, and lies on it, means that image's slice.
    """
    return ratio <= 1 + _SAME_DISTANCE and (images.are_named or ratio >= 1 - _SAME_DISTANCE)


def _own_grid(path: pathlib.Path, frames: Sequence[_Frame], images: Images | None) -> Grid:
    if not frames:
        raise UserError("it holds no frame", path=path, remedy="Export the label again")
    places = [_place(path, one, images) for one in frames]
    gaps = slice_geometry.distances(places)
    least = float(gaps.min(initial=np.inf))
    declared = library.optional_number(path, frames[0].tags, "SpacingBetweenSlices")
    thickness = places[0].thickness
    if declared and declared > 0:
        distance = min(declared, least)
    elif thickness and thickness > 0:
        distance = least if least <= _GAPLESS * thickness else thickness
    else:
        raise UserError(
            f"nothing says how far its slices are apart: expected {library.tag_name('SpacingBetweenSlices')} or "
            f"{library.tag_name('SliceThickness')}, or frames on slices of the images",
            path=path,
            remedy="Add the images that the label was drawn on, or export the label as NIfTI",
        )
    return slice_geometry.stack_with_gaps(places, distance)


def _fill(path, dataset, numbers, frames: Sequence[_Frame], places: Sequence[tuple[Slice, int]], grid: Grid):
    mask = np.zeros(grid.shape, bool)
    fractional = library.value(dataset, "SegmentationType") == "FRACTIONAL"
    whole = library.optional_number(path, dataset, "MaximumFractionalValue") or 255
    stored = pixels.stored_frames(path, dataset, [one.index for one in frames])
    described = {0, *names(path, dataset)}
    seen: dict[tuple[int | None, int], bytes] = {}
    for frame, (place, number), (values, _) in zip(frames, places, stored):
        if frame.segment is None:
            unknown = set(np.unique(values).tolist()) - described
            if unknown:
                raise _unknown(path, min(unknown), frame.index)
            values = np.isin(values, list(numbers))
        else:
            values = values >= whole / 2 if fractional else values != 0
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
        own, target = slice_geometry.on_slice(place, grid, number)
        mask[:, :, number] |= resample_mask(values.T[:, :, None], own, target)[:, :, 0] != 0
    return mask
