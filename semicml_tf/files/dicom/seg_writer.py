"""A mask as a DICOM-SEG object that refers to the images it was drawn on. highdicom writes it."""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Sequence

import numpy as np

import semicml_tf
from semicml_tf.errors import UserError
from semicml_tf.files.dicom import libraries as library
from semicml_tf.files.dicom.series import DicomSeries
from semicml_tf.system import atomic_files

SUFFIX = ".dcm"
INTENDED_USE = "Research only, not for clinical use"
SEGMENT_LABEL = "lesion (research only)"


def check(series: DicomSeries) -> None:
    """Whether a DICOM-SEG can be written on a series.

    Raises:
        UserError: highdicom is not installed, or the series is no regular stack of files of one image each.
    """
    library.highdicom()
    series.stacked_files()


def write_segmentation(
    path: str | pathlib.Path, mask: np.ndarray, series: DicomSeries, *, modality: str, models: Sequence[str]
) -> None:
    """Writes a mask as the one segment of a binary DICOM-SEG; slices without foreground are left out.

    The same mask of the same series by the same models gets the same UIDs.

    Args:
        path: appears whole or not at all.
        mask: (column, row, slice), in the index order of `series.read_volume`; everything but 0 is foreground.
        series: that was segmented; patient, study and frame of reference are taken from its headers.
        modality: whose models drew it.
        models: what tells them apart, e.g. the hashes of their runs.

    Raises:
        UserError: highdicom is not installed, the series is of multi-frame files, its headers lack what the object
            must repeat, or the path cannot be written to.
    """
    highdicom = library.highdicom()
    images = []
    for file in series.stacked_files():
        dataset = library.read(file)
        dataset.pop("PixelData", None)  # a whole series of pixels would be held for nothing
        images.append(dataset)
    frames = np.ascontiguousarray((np.asarray(mask) != 0).astype(np.uint8).transpose(2, 1, 0))
    if frames.shape != (len(images), images[0].Rows, images[0].Columns):
        raise ValueError(f"expected a mask of {len(images)} slices as large as the images, got {frames.shape}")
    identity = hashlib.sha256(frames.tobytes()).hexdigest()
    named = [series.series_uid, modality, *models, identity]
    make_uid = library.pydicom().uid.generate_uid
    code = highdicom.sr.coding.CodedConcept
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=f"semicml_tf {modality}",
        version=semicml_tf.__version__,
        family=code("123110", "DCM", "Artificial Intelligence"),
        parameters={"modality": modality, "models": ",".join(models)},
    )
    segment = highdicom.seg.SegmentDescription(
        segment_number=1,
        segment_label=SEGMENT_LABEL,
        segmented_property_category=code("49755003", "SCT", "Morphologically Abnormal Structure"),
        segmented_property_type=code("52988006", "SCT", "Lesion"),
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
    )
    try:
        dataset = highdicom.seg.Segmentation(
            source_images=images,
            pixel_array=frames,
            segmentation_type="BINARY",
            segment_descriptions=[segment],
            series_instance_uid=make_uid(entropy_srcs=[*named, "series"]),
            sop_instance_uid=make_uid(entropy_srcs=[*named, "instance"]),
            series_number=9000,
            instance_number=1,
            manufacturer="semicml_tf",
            manufacturer_model_name=f"semicml_tf {modality}",
            software_versions=semicml_tf.__version__,
            device_serial_number=hashlib.sha256(",".join(models).encode()).hexdigest()[:16],
            content_label="RESEARCH_ONLY",
            content_description=INTENDED_USE,
            series_description=f"semicml_tf {modality} lesions, research only",
        )
    except (AttributeError, KeyError, TypeError, ValueError):  # its text may quote tags
        raise UserError(
            "no DICOM-SEG can refer to this series: its headers lack tags that the object must repeat",
            path=series.path,
            remedy="Write the mask as NIfTI: --output=mask.nii.gz",
        ) from None
    atomic_files.write_file(path, lambda stream: dataset.save_as(stream, enforce_file_format=True))
