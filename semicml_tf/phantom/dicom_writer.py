"""Writes phantom cases as DICOM: a series per modality, and the label as DICOM-SEG or RTSTRUCT.

The same case gives the same bytes.
"""

from __future__ import annotations

import pathlib

import numpy as np

from semicml_tf.files.dicom import libraries as library
from semicml_tf.files.dicom.slice_geometry import to_lps
from semicml_tf.geometry.grid import Grid
from semicml_tf.phantom import dicom_label_writer
from semicml_tf.phantom.case import PhantomCase
from semicml_tf.phantom.dicom_object import WEIGHT_KG, common, decimal, save

DOSE_BQ = 3.6e8
HALF_LIFE_S = 6586.2  # of fluorine-18
INJECTION, UPTAKE_S = "230000", 3600  # before a scan at midnight

_SUV_STEP = 1 / 1024  # as in the NIfTI phantom
_CODES = {"ct": "CT", "pet": "PT"}
_NUMBERS = {"ct": 2, "pet": 3, "mr": 4, "t1": 2, "t1ce": 3, "t2": 4, "flair": 5}


def _place(dataset, grid: Grid, index: int) -> None:
    affine = to_lps(grid.affine)
    spacing = grid.spacing_mm
    directions = affine[:3, :3] / spacing
    dataset.ImagePositionPatient = [decimal(x) for x in affine[:3, 3] + affine[:3, 2] * index]
    dataset.ImageOrientationPatient = [decimal(x) for x in (*directions[:, 0], *directions[:, 1])]
    dataset.PixelSpacing = [decimal(spacing[1]), decimal(spacing[0])]
    dataset.SliceThickness = decimal(spacing[2])


def _pixels(dataset, values: np.ndarray) -> None:
    """Sets the pixels to `values`, (columns, rows) int16 or uint16."""
    dataset.Columns, dataset.Rows = values.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 1 if values.dtype == np.int16 else 0
    dataset.add_new("PixelData", "OW", np.ascontiguousarray(values.T).astype(values.dtype.newbyteorder("<")).tobytes())


def _pet_series(dataset) -> None:
    module = library.pydicom()
    item = module.Dataset()
    item.Radiopharmaceutical = "Fluorodeoxyglucose"
    item.RadiopharmaceuticalStartTime = INJECTION
    item.RadionuclideTotalDose = decimal(DOSE_BQ)
    item.RadionuclideHalfLife = decimal(HALF_LIFE_S)
    dataset.RadiopharmaceuticalInformationSequence = [item]
    dataset.Units = "BQML"
    dataset.DecayCorrection = "START"
    dataset.CorrectedImage = ["DECY", "ATTN", "SCAT", "DTIM", "RAN", "NORM"]
    dataset.SeriesType = ["STATIC", "IMAGE"]


def _stored(modality: str, values: np.ndarray) -> tuple[np.ndarray, float, float]:
    """One slice as stored integers, with slope and intercept."""
    if modality == "ct":
        return (values.astype(np.int32) + 1024).astype(np.uint16), 1.0, -1024.0
    steps = np.round(values.astype(np.float64) / _SUV_STEP).clip(0, 32767).astype(np.int32)
    finer = 1  # as scanners do, a slice with low activity is stored with a smaller slope
    while finer < 8 and steps.max() * finer * 2 <= 32767:
        finer *= 2
    decayed = DOSE_BQ * 2 ** (-UPTAKE_S / HALF_LIFE_S)
    return (steps * finer).astype(np.int16), _SUV_STEP / finer * decayed / (WEIGHT_KG * 1000), 0.0


def _write_series(folder: pathlib.Path, case: PhantomCase, modality: str) -> list:
    storage = library.pydicom().uid
    code = _CODES.get(modality, "MR")
    sop_class = {
        "CT": storage.CTImageStorage,
        "PT": storage.PositronEmissionTomographyImageStorage,
        "MR": storage.MRImageStorage,
    }[code]
    volume, grid = case.images[modality]
    written = []
    for index in range(grid.shape[2]):
        dataset = common(case, code, sop_class, modality, str(index))
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.SeriesNumber = _NUMBERS[modality]
        dataset.SeriesDescription = f"phantom {modality}"
        dataset.InstanceNumber = index + 1
        _place(dataset, grid, index)
        values = volume[:, :, index]
        if code == "PT":
            _pet_series(dataset)
        if code != "MR":
            values, slope, intercept = _stored(modality, values)
            dataset.RescaleSlope, dataset.RescaleIntercept = decimal(slope), decimal(intercept)
        if code == "CT":
            dataset.RescaleType = "HU"
        _pixels(dataset, values)
        save(folder / f"{index:04d}.dcm", dataset)
        written.append(dataset)
    return written


def write_dicom(folder: pathlib.Path, case: PhantomCase, *, label: str = "") -> dict[str, str]:
    """Writes ``CASE/<modality>/0000.dcm``, ... and the label ``CASE/label/seg.dcm`` or ``rtstruct.dcm``.

    CT has a rescale intercept of -1024. PET is in Bq/ml, decay-corrected to the start of the scan, with a slope per
    slice. Its SUV have the same steps as in the NIfTI phantom.

    Args:
        folder: the output folder.
        case: the patient.
        label: ``seg`` or ``rtstruct``; "" alternates between them.

    Returns:
        Relative paths: a folder per modality, and the file of the label as ``label``.
    """
    folder = pathlib.Path(folder)
    label = label or ("rtstruct" if case.case_id[-1:] in tuple("13579") else "seg")
    paths = {modality: f"{case.case_id}/{modality}" for modality in case.images}
    paths["label"] = f"{case.case_id}/label/{label}.dcm"
    written = {modality: _write_series(folder / paths[modality], case, modality) for modality in case.images}
    # The label has the grid of the first modality.
    images = written[next(iter(case.images))]
    write = {"seg": dicom_label_writer.write_seg, "rtstruct": dicom_label_writer.write_rtstruct}[label]
    write(folder / paths["label"], case, images)
    return paths
