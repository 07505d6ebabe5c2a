"""Writes masks as a DICOM-SEG object that refers to the segmented images, by highdicom."""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

import semicml_tf
from semicml_tf.errors import UserError
from semicml_tf.files.dicom import libraries as library
from semicml_tf.files.dicom.series import DicomSeries
from semicml_tf.labels import LESION
from semicml_tf.system import atomic_files

SUFFIX = ".dcm"
INTENDED_USE = "Research only, not for clinical use"
SEGMENT_LABEL = "{name} (research only)"
_REMEDY = "For example --segment_codes=liver=SCT:10200004:Liver"


class Code(NamedTuple):
    """The coded type of a segment, e.g. SCT 10200004 "Liver"."""

    scheme: str
    value: str
    meaning: str


def parse_codes(texts: Sequence[str], names: Sequence[str]) -> dict[str, Code]:
    """Parses ``NAME=SCHEME:CODE:MEANING``.

    Args:
        texts: one per class, for some or all classes.
        names: of the classes.

    Raises:
        UserError: a text is malformed, or its class is unknown or repeated.
    """
    codes: dict[str, Code] = {}
    for text in texts:
        name, _, code = text.partition("=")
        parts = code.split(":")
        if name not in names or name in codes:
            raise UserError(
                f"expected --segment_codes with each of the classes {', '.join(names)} at most once, got '{text}'",
                remedy=_REMEDY,
            )
        if len(parts) != 3 or not all(part.strip() and part.isprintable() for part in parts):
            raise UserError(f"expected NAME=SCHEME:CODE:MEANING, got '{text}'", remedy=_REMEDY)
        if any(len(part) > most or "\\" in part for part, most in zip(parts, (16, 16, 64))):
            raise UserError(
                f"expected a scheme and a code of at most 16 characters and a meaning of at most 64, got '{text}'",
                remedy=_REMEDY,
            )
        codes[name] = Code(*parts)
    return codes


def check(series: DicomSeries) -> None:
    """Checks that a DICOM-SEG can refer to a series.

    Raises:
        UserError: highdicom is not installed, or the series is no regular stack of files of one image each.
    """
    library.highdicom()
    series.stacked_files()


def write_segmentation(
    path: str | pathlib.Path,
    masks: Mapping[str, np.ndarray],
    series: DicomSeries,
    *,
    modality: str,
    models: Sequence[str],
    codes: Mapping[str, Code] | None = None,
) -> None:
    """Writes masks as the segments of a binary DICOM-SEG, without slices that have no foreground.

    The UIDs depend only on the masks, the series and the models.

    Args:
        path: of the output file, written atomically.
        masks: by class, (column, row, slice) in the index order of `series.read_volume`. Nonzero is foreground.
            Masks may overlap.
        series: the segmented images. Patient, study and frame of reference are taken from its headers.
        modality: of the models.
        models: identifiers of the models, e.g. the hashes of their runs.
        codes: by class. Without a code, the class `lesion` has the SNOMED code of a lesion if it is the only class.
            All other classes have codes of the private scheme 99SEMICML.

    Raises:
        UserError: highdicom is not installed, the series has multi-frame files, a tag that the object repeats is
            missing, or the path cannot be written to.
    """
    highdicom = library.highdicom()
    images = []
    for file in series.stacked_files():
        dataset = library.read(file)
        dataset.pop("PixelData", None)  # the pixels are not needed, and those of a whole series are large
        images.append(dataset)
    frames = np.stack([(np.asarray(mask) != 0).astype(np.uint8).transpose(2, 1, 0) for mask in masks.values()], -1)
    if frames.shape[:3] != (len(images), images[0].Rows, images[0].Columns):
        raise ValueError(f"expected masks of {len(images)} slices as large as the images, got {frames.shape[:3]}")
    is_plain = tuple(masks) == (LESION,) and not codes
    identity = hashlib.sha256(frames.tobytes() + (b"" if is_plain else repr((*masks, codes)).encode())).hexdigest()
    uid_sources = [series.series_uid, modality, *models, identity]
    make_uid = library.pydicom().uid.generate_uid
    concept = highdicom.sr.coding.CodedConcept
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=f"semicml_tf {modality}",
        version=semicml_tf.__version__,
        family=concept("123110", "DCM", "Artificial Intelligence"),
        parameters={"modality": modality, "models": ",".join(models)},
    )
    segments = []
    for number, name in enumerate(masks, start=1):
        category = Code("SCT", "49755003", "Morphologically Abnormal Structure")
        kind = Code("SCT", "52988006", "Lesion")
        if not is_plain:
            category = Code("SCT", "85756007", "Tissue")
            kind = (codes or {}).get(name) or Code("99SEMICML", f"CLASS{number}", name)
        segments.append(
            highdicom.seg.SegmentDescription(
                segment_number=number,
                segment_label=SEGMENT_LABEL.format(name=name[:40]),
                segmented_property_category=concept(category.value, category.scheme, category.meaning),
                segmented_property_type=concept(kind.value, kind.scheme, kind.meaning),
                algorithm_type="AUTOMATIC",
                algorithm_identification=algorithm,
            )
        )
    try:
        dataset = highdicom.seg.Segmentation(
            source_images=images,
            pixel_array=frames,
            segmentation_type="BINARY",
            segment_descriptions=segments,
            series_instance_uid=make_uid(entropy_srcs=[*uid_sources, "series"]),
            sop_instance_uid=make_uid(entropy_srcs=[*uid_sources, "instance"]),
            series_number=9000,
            instance_number=1,
            manufacturer="semicml_tf",
            manufacturer_model_name=f"semicml_tf {modality}",
            software_versions=semicml_tf.__version__,
            device_serial_number=hashlib.sha256(",".join(models).encode()).hexdigest()[:16],
            content_label="RESEARCH_ONLY",
            content_description=INTENDED_USE,
            series_description=f"semicml_tf {modality} {'lesions' if is_plain else 'classes'}, research only",
        )
    except (AttributeError, KeyError, TypeError, ValueError):  # the text of the exception may quote tags
        raise UserError(
            "no DICOM-SEG can refer to this series: its headers lack tags that the object repeats",
            path=series.path,
            remedy="Write the mask as NIfTI: --output=mask.nii.gz",
        ) from None
    atomic_files.write_file(path, lambda stream: dataset.save_as(stream, enforce_file_format=True))
