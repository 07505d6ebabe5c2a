"""Frames of a multi-frame object (enhanced CT or MR, segmentation), each with the tags that apply to it."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from semicml_tf.errors import UserError
from semicml_tf.files import dicom_library as library

# By functional group (DICOM PS3.3 C.7.6.16.2), the tags that are read of it.
_GROUPS = {
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
    "SegmentIdentificationSequence": ("ReferencedSegmentNumber",),
}
_OF_THE_OBJECT = ("Rows", "Columns")


def count(dataset) -> int:
    """Number of frames of an image."""
    return int(library.number(dataset, "NumberOfFrames") or 1)


def _tags(item) -> dict:
    """Elements of an item's functional groups by keyword."""
    elements = {}
    for group, keywords in _GROUPS.items():
        for inner in (library.value(item, group) or ())[:1]:
            elements |= {keyword: inner[keyword] for keyword in keywords if keyword in inner}
    return elements


def tags_by_frame(path: pathlib.Path, dataset) -> list:
    """For each frame a dataset of the tags that say where it lies and what its values mean.

    Raises:
        UserError: the object does not describe each of its frames.
    """
    module = library.pydicom()
    per_frame = library.value(dataset, "PerFrameFunctionalGroupsSequence") or ()
    frames = count(dataset)
    if len(per_frame) != frames:
        raise UserError(
            f"expected {frames} items in {library.tag_name('PerFrameFunctionalGroupsSequence')}, one per frame, "
            f"got {len(per_frame)}",
            path=path,
            remedy="Export it again",
        )
    shared: dict = {}
    for item in (library.value(dataset, "SharedFunctionalGroupsSequence") or ())[:1]:
        shared = _tags(item)
    shared |= {keyword: dataset[keyword] for keyword in _OF_THE_OBJECT if keyword in dataset}
    merged = []
    for item in per_frame:
        frame = module.dataset.Dataset()
        for element in (shared | _tags(item)).values():
            frame.add(element)
        merged.append(frame)
    return merged


def source_images(item) -> Sequence[str]:
    """UIDs of the images that a frame (an item of the sequence of frames) was derived from."""
    return [
        str(library.value(source, "ReferencedSOPInstanceUID") or "")
        for derivation in library.value(item, "DerivationImageSequence") or ()
        for source in library.value(derivation, "SourceImageSequence") or ()
    ]
