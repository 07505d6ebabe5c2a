"""Tags of each frame of a multi-frame object (enhanced CT or MR, segmentation)."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from semicml_tf.errors import UserError
from semicml_tf.files.dicom import libraries as library

# Tags that are read, by functional group (DICOM PS3.3 C.7.6.16.2).
_GROUPS = {
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
    "SegmentIdentificationSequence": ("ReferencedSegmentNumber",),
}
_COMPLETE = ("PixelValueTransformationSequence", "SegmentIdentificationSequence")  # damaged if a tag is missing
_OF_THE_OBJECT = ("Rows", "Columns")


def count(path: pathlib.Path, dataset) -> int:
    """Number of frames of an image, 1 without the tag. Raises `UserError` if the tag is no number."""
    return int(library.optional_number(path, dataset, "NumberOfFrames") or 1)


def _tags(path: pathlib.Path, item) -> dict:
    """Elements in the functional groups of an item, by keyword."""
    elements = {}
    for group, keywords in _GROUPS.items():
        if group not in item:
            continue
        inner = (library.items(path, item, group) or [()])[0]
        elements |= {keyword: inner[keyword] for keyword in keywords if keyword in inner}
        if group in _COMPLETE and not all(keyword in inner for keyword in keywords):
            raise UserError(
                f"the tag {library.tag_name(group)} lacks {' or '.join(keywords)}", path=path, remedy="Export it again"
            )
    return elements


def tags_by_frame(path: pathlib.Path, dataset) -> list:
    """A dataset per frame with the tags of its geometry, rescaling and segment.

    Raises:
        UserError: the number of described frames is not the number of frames, or a group lacks a tag.
    """
    module = library.pydicom()
    per_frame = library.items(path, dataset, "PerFrameFunctionalGroupsSequence")
    frames = count(path, dataset)
    if len(per_frame) != frames:
        raise UserError(
            f"expected {frames} items in {library.tag_name('PerFrameFunctionalGroupsSequence')}, one per frame, "
            f"got {len(per_frame)}",
            path=path,
            remedy="Export it again",
        )
    shared: dict = {}
    for item in library.items(path, dataset, "SharedFunctionalGroupsSequence")[:1]:
        shared = _tags(path, item)
    shared |= {keyword: dataset[keyword] for keyword in _OF_THE_OBJECT if keyword in dataset}
    merged = []
    for item in per_frame:
        frame = module.dataset.Dataset()
        for element in (shared | _tags(path, item)).values():
            frame.add(element)
        merged.append(frame)
    return merged


def source_images(path: pathlib.Path, item) -> Sequence[str]:
    """UIDs of the source images of a frame, given its item in PerFrameFunctionalGroupsSequence."""
    return [
        str(library.value(source, "ReferencedSOPInstanceUID") or "")
        for derivation in library.items(path, item, "DerivationImageSequence")
        for source in library.items(path, derivation, "SourceImageSequence")
    ]
