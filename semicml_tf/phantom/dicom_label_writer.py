"""Writes the label of a phantom as a DICOM-SEG or RTSTRUCT object that refers to its images."""

from __future__ import annotations

import pathlib

import numpy as np

from semicml_tf.files.dicom import libraries as library
from semicml_tf.files.dicom.slice_geometry import to_lps
from semicml_tf.phantom import dicom_object
from semicml_tf.phantom.case import PhantomCase

NAME = "lesion"


def write_seg(path: pathlib.Path, case: PhantomCase, images: list) -> None:
    """Writes the foreground of the label as one segment of a DICOM-SEG.

    Args:
        path: of the output file.
        case: the patient.
        images: datasets of the referenced series, in the order of the third index.
    """
    highdicom = library.highdicom()
    codes = highdicom.sr.coding.CodedConcept
    segment = highdicom.seg.SegmentDescription(
        segment_number=1,
        segment_label=NAME,
        segmented_property_category=codes("49755003", "SCT", "Morphologically Abnormal Structure"),
        segmented_property_type=codes("108369006", "SCT", "Neoplasm"),
        algorithm_type="MANUAL",
    )
    head = dicom_object.common(case, "SEG", library.pydicom().uid.SegmentationStorage, "seg", "0")
    dataset = highdicom.seg.Segmentation(
        source_images=images,
        pixel_array=(case.label > 0).astype(np.uint8).transpose(2, 1, 0),
        segmentation_type="BINARY",
        segment_descriptions=[segment],
        series_instance_uid=head.SeriesInstanceUID,
        series_number=9,
        sop_instance_uid=head.SOPInstanceUID,
        instance_number=1,
        manufacturer="semicml_tf",
        manufacturer_model_name="phantom",
        software_versions="1",
        device_serial_number="1",
    )
    _fix_times_and_uids(dataset, head)
    dicom_object.save(path, dataset)


def _fix_times_and_uids(dataset, head) -> None:
    """Replaces times and random UIDs of highdicom by values that depend only on the case."""
    times = {"DA": head.StudyDate, "TM": head.StudyTime, "DT": head.StudyDate + head.StudyTime}
    known: dict[str, str] = {}
    for element in dataset.iterall():
        if element.keyword == "DimensionOrganizationUID":
            new_uid = dicom_object.uid(head.SOPInstanceUID, "dimensions", len(known))
            element.value = known.setdefault(str(element.value), new_uid)
        elif element.VR in times and element.keyword != "PatientBirthDate":
            element.value = times[element.VR]


def _item(**values):
    dataset = library.pydicom().Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def _lines(mask: np.ndarray) -> list[np.ndarray]:
    """Closed lines (n, 2) around the foreground and its holes in a slice, halfway between voxel indices."""
    import contourpy

    padded = np.pad(mask.astype(np.float64), 1)
    # The x of contourpy is the second index.
    return [line[:-1, ::-1] - 1 for line in contourpy.contour_generator(z=padded).lines(0.5)]


def write_rtstruct(path: pathlib.Path, case: PhantomCase, images: list) -> None:
    """Writes the foreground of the label as one structure of an RTSTRUCT. For the arguments, see `write_seg`."""
    affine = to_lps(case.label_grid.affine)
    contours = []
    for index, image in enumerate(images):
        for line in _lines(case.label[:, :, index] > 0):
            points = np.c_[line, np.full(len(line), index)] @ affine[:3, :3].T + affine[:3, 3]
            reference = _item(ReferencedSOPClassUID=image.SOPClassUID, ReferencedSOPInstanceUID=image.SOPInstanceUID)
            contours.append(
                _item(
                    ContourImageSequence=[reference],
                    ContourGeometricType="CLOSED_PLANAR",
                    NumberOfContourPoints=len(points),
                    ContourData=[dicom_object.decimal(x) for x in points.ravel()],
                )
            )
    storage = library.pydicom().uid
    dataset = dicom_object.common(case, "RTSTRUCT", storage.RTStructureSetStorage, "rtstruct", "0")
    dataset.SeriesNumber, dataset.InstanceNumber = 9, 1
    dataset.StructureSetLabel = "phantom"
    dataset.StructureSetDate, dataset.StructureSetTime = dataset.StudyDate, dataset.StudyTime
    images_used = [
        _item(ReferencedSOPClassUID=image.SOPClassUID, ReferencedSOPInstanceUID=image.SOPInstanceUID)
        for image in images
    ]
    series = _item(SeriesInstanceUID=images[0].SeriesInstanceUID, ContourImageSequence=images_used)
    study = _item(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",
        ReferencedSOPInstanceUID=dataset.StudyInstanceUID,
        RTReferencedSeriesSequence=[series],
    )
    dataset.ReferencedFrameOfReferenceSequence = [
        _item(FrameOfReferenceUID=dataset.FrameOfReferenceUID, RTReferencedStudySequence=[study])
    ]
    dataset.StructureSetROISequence = [
        _item(
            ROINumber=1,
            ReferencedFrameOfReferenceUID=dataset.FrameOfReferenceUID,
            ROIName=NAME,
            ROIGenerationAlgorithm="MANUAL",
        )
    ]
    roi = _item(ROIDisplayColor=[255, 0, 0], ReferencedROINumber=1)
    if contours:
        roi.ContourSequence = contours
    dataset.ROIContourSequence = [roi]
    dataset.RTROIObservationsSequence = [
        _item(ObservationNumber=1, ReferencedROINumber=1, RTROIInterpretedType="GTV", ROIInterpreter="")
    ]
    dicom_object.save(path, dataset)
