"""DICOM series on disk for the tests, every tag of which can be set, removed or made wrong."""

import pathlib

import numpy as np
import pydicom
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
)

PRIVATE_NAME = "SECRETSURNAME^SECRETFORENAME"
PRIVATE_ID = "SECRETPATIENTID"
PRIVATE_BIRTH = "19510318"
PRIVATE_DATE = "20140918"
SECRETS = ("SECRET", PRIVATE_BIRTH, PRIVATE_DATE)

KINDS = {"CT": CTImageStorage, "MR": MRImageStorage, "PT": PositronEmissionTomographyImageStorage}
DOSE, WEIGHT, HALF_LIFE = 4e8, 80.0, 6586.2


def dataset(modality="CT", series="1", instance=0, study="1.2.3", **tags):
    """A dataset with what identifies it; further tags by keyword, None = without the tag."""
    made = pydicom.Dataset()
    made.SOPClassUID = KINDS.get(modality, CTImageStorage)
    made.SOPInstanceUID = f"{study}.{series}.{instance}"
    made.PatientName, made.PatientID, made.PatientBirthDate = PRIVATE_NAME, PRIVATE_ID, PRIVATE_BIRTH
    made.PatientSex, made.StudyID, made.AccessionNumber, made.ReferringPhysicianName = "O", "1", "", "SECRET^DOCTOR"
    made.StudyInstanceUID, made.SeriesInstanceUID = study, f"{study}.{series}"
    made.StudyDate = made.SeriesDate = made.AcquisitionDate = PRIVATE_DATE
    made.StudyTime = made.SeriesTime = made.AcquisitionTime = "101500"
    made.Modality = modality
    made.SeriesNumber, made.SeriesDescription = int(series), f"series {series}"
    made.InstanceNumber = instance + 1
    made.FrameOfReferenceUID = f"{study}.9"
    made.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    put(made, **tags)
    return made


def put(made, **tags):
    for keyword, value in tags.items():
        if value is None:
            if keyword in made:
                delattr(made, keyword)
        else:
            setattr(made, keyword, value)


def pixels(made, stored):
    """Puts (rows, columns) integers into a dataset."""
    made.Rows, made.Columns = stored.shape
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = 8 * stored.dtype.itemsize
    made.HighBit = made.BitsStored - 1
    made.PixelRepresentation = int(stored.dtype.kind == "i")
    made.add_new("PixelData", "OW", np.ascontiguousarray(stored).tobytes())


def save(made, path):
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path, enforce_file_format=True)
    return path


def pet_tags(**tags):
    """The tags of a PET in Bq/ml; `item` tags go into the radiopharmaceutical's sequence."""
    drug = {
        "RadionuclideTotalDose": DOSE,
        "RadionuclideHalfLife": HALF_LIFE,
        "RadiopharmaceuticalStartTime": "091500",
    } | tags.pop("item", {})
    item = pydicom.Dataset()
    put(item, **drug)
    return {
        "Units": "BQML",
        "DecayCorrection": "START",
        "CorrectedImage": ["DECY", "ATTN", "SCAT"],
        "PatientWeight": WEIGHT,
        "RadiopharmaceuticalInformationSequence": [item],
    } | tags


def axes(row, column):
    """Orientation of a slice by the world directions (left, back, head) of its row and its column."""
    return [*map(float, row), *map(float, column)]


AXIAL = axes((1, 0, 0), (0, 1, 0))


def write_series(
    folder,
    stored,
    *,
    modality="CT",
    series="1",
    study="1.2.3",
    orientation=AXIAL,
    origin=(-20.0, 31.5, 100.0),
    step=None,
    spacing=(1.5, 2.0),
    thickness=3.0,
    names="{:03d}.dcm",
    order=None,
    each=None,
    **tags,
):
    """Writes (slices, rows, columns) stored integers as a series.

    Args:
        step: mm from slice to slice, DICOM's axes; None = `thickness` along the normal.
        order: of the slices in the files' names; None = as they are.
        each: function of a slice's index that returns tags of its own.
        tags: of all slices, over those of the kind.

    Returns:
        The files' paths, by slice.
    """
    if modality == "PT":
        tags = pet_tags(**tags)
    normal = np.cross(orientation[:3], orientation[3:])
    step = normal * thickness if step is None else np.asarray(step, float)
    order = range(len(stored)) if order is None else order
    paths = [None] * len(stored)
    for name, index in enumerate(order):
        made = dataset(modality, series, index, study)
        made.ImageOrientationPatient = list(orientation)
        made.ImagePositionPatient = [f"{x:.8g}" for x in np.asarray(origin) + index * step]
        made.PixelSpacing, made.SliceThickness = list(spacing), thickness
        if modality == "CT":
            made.RescaleSlope, made.RescaleIntercept = 1, -1024
        if modality == "PT":
            made.RescaleSlope, made.RescaleIntercept = 1, 0
        pixels(made, stored[index])
        put(made, **tags)
        put(made, **(each(index) if each else {}))
        paths[index] = save(made, pathlib.Path(folder) / names.format(name))
    return paths


def numbers(shape=(5, 6, 7), dtype=np.int16, seed=0):
    """Distinct-looking stored values (slices, rows, columns)."""
    return np.random.default_rng(seed).integers(0, 2000, shape).astype(dtype)
