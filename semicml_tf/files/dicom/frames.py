"""Frames of a multi-frame object (enhanced CT or MR, segmentation), each with the tags that apply to it."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from semicml_tf.errors import UserError
from semicml_tf.files.dicom import libraries as library

# By functional group (DICOM PS3.3 C.7.6.16.2), the tags that are read of it.
_GROUPS = {
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
    "SegmentIdentificationSequence": ("ReferencedSegmentNumber",),
}
_WHOLE = ("PixelValueTransformationSequence", "SegmentIdentificationSequence")  # damaged without all of their tags
_OF_THE_OBJECT = ("Rows", "Columns")


def count(path: pathlib.Path, dataset) -> int:
    """Number of frames of an image. Raises `UserError` if the tag is no number."""
    return int(library.optional_number(path, dataset, "NumberOfFrames") or 1)


def _tags(path: pathlib.Path, item) -> dict:
    """Elements of an item's functional groups by keyword."""
    elements = {}
    for group, keywords in _GROUPS.items():
        if group not in item:
            continue
        inner = (library.items(path, item, group) or [()])[0]
        elements |= {keyword: inner[keyword] for keyword in keywords if keyword in inner}
        if group in _WHOLE and not all(keyword in inner for keyword in keywords):
            raise UserError(
                f"the tag {library.tag_name(group)} lacks {' or '.join(keywords)}", path=path, remedy="Export it again"
            )
    return elements


def tags_by_frame(path: pathlib.Path, dataset) -> list:
    """For each frame, a dataset of the tags about its position and the meaning of its values.

    Raises:
        UserError: the object does not describe each of its frames.
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
    """UIDs of the images that a frame (an item of the sequence of frames) was derived from."""
    return [
        str(library.value(source, "ReferencedSOPInstanceUID") or "")
        for derivation in library.items(path, item, "DerivationImageSequence")
        for source in library.items(path, derivation, "SourceImageSequence")
    ]
