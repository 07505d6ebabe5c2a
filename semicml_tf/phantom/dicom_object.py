"""Common tags of the DICOM objects of a phantom case, and writing of DICOM files.

Every file has the name, id and date of birth of an invented patient, so that tests can search for them in outputs.
PatientID is the name of the case.
"""

from __future__ import annotations

import hashlib
import pathlib

from semicml_tf.files.dicom import libraries as library
from semicml_tf.phantom.case import PhantomCase
from semicml_tf.system import atomic_files

PATIENT_NAME = "PHANTOMSURNAME^PHANTOMFORENAME"
BIRTH_DATE = "19430217"
STUDY_DATE, STUDY_TIME = "20200229", "000000"
WEIGHT_KG = 75.0


def uid(*parts) -> str:
    """A UID that depends only on `parts`."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:15], 'big')}"


def _identity(case: PhantomCase) -> str:
    """An identifier that differs between cases with the same name and different seeds."""
    content = hashlib.sha256(case.label.tobytes())
    for modality in sorted(case.images):
        content.update(case.images[modality][0].tobytes())
    return f"{case.case_id}/{content.hexdigest()}"


def common(case: PhantomCase, modality_code: str, sop_class: str, series: str, instance: str):
    """A dataset with the tags of all objects in the study of a case.

    Args:
        case: the patient.
        modality_code: the DICOM code.
        sop_class: UID.
        series, instance: names within the study, from which the UIDs are computed.
    """
    module = library.pydicom()
    identity = _identity(case)
    dataset = module.Dataset()
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = uid(identity, series, instance)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName = PATIENT_NAME
    dataset.PatientID = case.case_id
    dataset.PatientBirthDate = BIRTH_DATE
    dataset.PatientSex = "O"
    dataset.PatientWeight = WEIGHT_KG
    dataset.StudyInstanceUID = uid(identity)
    dataset.StudyID = "1"
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = STUDY_DATE
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = STUDY_TIME
    dataset.AccessionNumber = ""
    dataset.ReferringPhysicianName = ""
    dataset.Modality = modality_code
    dataset.Manufacturer = "semicml_tf"
    dataset.ManufacturerModelName = "phantom"
    dataset.SeriesInstanceUID = uid(identity, series)
    dataset.FrameOfReferenceUID = uid(identity, "frame")
    dataset.PositionReferenceIndicator = ""
    dataset.file_meta = module.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = module.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def save(path: pathlib.Path, dataset) -> None:
    """Writes a dataset atomically as a DICOM file."""
    atomic_files.write_file(path, lambda stream: dataset.save_as(stream, enforce_file_format=True))


def decimal(number: float) -> str:
    """A decimal string (DS) of at most 16 characters."""
    return library.pydicom().valuerep.format_number_as_ds(float(number))
