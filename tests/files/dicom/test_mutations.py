"""DICOM objects that are damaged: the reader raises its own error, or returns what it returned before."""

import copy
import random

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import RawDataElement

from semicml_tf.errors import UserError
from semicml_tf.files.dicom.labels import DicomLabel
from semicml_tf.files.dicom.series import open_series
from semicml_tf.files.layouts import dicom
from tests.files.dicom.test_encodings import enhanced
from tests.files.dicom.test_labels import SHAPE, blob, box, images, write_rtstruct, write_seg
from tests.support import dicom_files as files

UNUSABLE = (
    b"",
    b"nan ",
    b"1e400 ",
    b"x" * 64,
    b"\xff" * 4,
    b"\0\0",
    b"1\\2\\3\\4\\5\\6\\7\\8\\",
    b"\\\\",
    b"1.2.3.4\0",
)
USABLE = (b"-1", b"1e-300", b"1e-5 ", b"99999999", b"\x07\0", b"1.2.840.10008.5.1.4.1.1.2\0")
# Tags whose number is part of the result: another usable number is another right value.
PHYSICAL = {
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
    *("RescaleSlope", "RescaleIntercept", "PixelRepresentation", "BitsStored", "HighBit", "BitsAllocated"),
    *("RadionuclideTotalDose", "RadionuclideHalfLife", "RadiopharmaceuticalStartTime", "PatientWeight", "SeriesTime"),
    *("AcquisitionTime", "ContourData", "ContourGeometricType", "MaximumFractionalValue"),
}
CASES = 50  # per object


def _ct(folder):
    paths = files.write_series(folder / "x", files.numbers((3, 4, 5)))
    return paths[1], lambda: open_series(folder / "x").read_volume()


def _pet(folder):
    paths = files.write_series(folder / "x", files.numbers((3, 4, 5)), modality="PT")
    return paths[1], lambda: open_series(folder / "x").read_volume()


def _enhanced(folder):
    made = enhanced("MR", files.numbers((3, 4, 5), np.uint16), [100, 103, 106])
    return files.save(made, folder / "x" / "all.dcm"), lambda: open_series(folder / "x").read_volume()


def _segmentation(folder):
    path = write_seg(folder / "seg.dcm", images(folder / "x"), {"GTV": blob()})
    series = open_series(folder / "x")
    return path, lambda: DicomLabel((path,), series).read_label()


def _contours(folder):
    files.write_series(folder / "x", files.numbers(SHAPE))
    path = write_rtstruct(folder / "rt.dcm", {"GTV": [box(1.5, 6.5, 2.5, 8.5, n) for n in (2, 3)]})
    series = open_series(folder / "x")
    return path, lambda: DicomLabel((path,), series).read_label()


def _elements(dataset):
    """Each element at any depth, as its dataset and tag."""
    for element in dataset:
        yield dataset, element.tag
        if element.VR == "SQ":
            for item in element.value:
                yield from _elements(item)


def mutated(path, place, value, vr=None):
    """The bytes of a file in which the value or type of one element is changed."""
    dataset = pydicom.dcmread(path)
    everything = [*_elements(dataset), *((dataset.file_meta, element.tag) for element in dataset.file_meta)]
    holder, tag = everything[place % len(everything)]
    held = holder[tag]
    syntax = dataset.file_meta.TransferSyntaxUID
    kept = "UN" if held.VR == "SQ" else held.VR
    holder._dict[tag] = RawDataElement(tag, vr or kept, len(value), value, 0, False, True)
    stream = pydicom.filebase.DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    meta = pydicom.filebase.DicomBytesIO()
    meta.is_little_endian, meta.is_implicit_VR = True, False
    pydicom.filewriter.write_dataset(meta, dataset.file_meta)
    pydicom.filewriter.write_dataset(stream, copy.copy(dataset))
    assert syntax == pydicom.uid.ExplicitVRLittleEndian
    return bytes(128) + b"DICM" + meta.getvalue() + stream.getvalue(), held.keyword


@pytest.mark.parametrize("make", [_ct, _pet, _enhanced, _segmentation, _contours])
def test_one_damaged_tag(tmp_path, make):
    path, read = make(tmp_path)
    expected, grid = read()
    content, rng = path.read_bytes(), random.Random(make.__name__)
    with pydicom.config.disable_value_validation():
        for _ in range(CASES):
            place, value, vr = rng.randrange(10**6), rng.choice(UNUSABLE + USABLE), rng.choice((None, None, "DS", "OB"))
            damaged, keyword = mutated(path, place, value, vr)
            path.write_bytes(damaged)
            about = f"{keyword} = {value!r} as {vr}"
            try:
                values, other = read()
            except UserError as error:
                assert "\n" not in error.line and not any(secret in error.line for secret in files.SECRETS), about
            except Exception as error:
                raise AssertionError(f"{about}: {error!r}") from error
            else:
                if keyword == "PixelData" or (keyword in PHYSICAL and value in USABLE):
                    assert np.isfinite(values).all() and np.isfinite(other.affine).all(), about
                    assert all(1e-4 <= spacing <= 1e5 for spacing in other.spacing_mm), about
                else:
                    np.testing.assert_array_equal(values, expected, err_msg=about)
                    assert other.is_close(grid, 1e-6), about
            path.write_bytes(content)


@pytest.mark.parametrize("kind", ["seg", "rtstruct"])
def test_a_label_truncated_anywhere(tmp_path, kind):
    """A truncated label is refused, or read completely."""
    datasets = images(tmp_path / "ct")
    contours = [box(1.5, 6.5, 2.5, 8.5, n) for n in range(1, 5)]
    if kind == "seg":
        path = write_seg(tmp_path / "label/x.dcm", datasets, {"GTV": blob()})
    else:
        path = write_rtstruct(tmp_path / "label/x.dcm", {"GTV": contours})
    content = path.read_bytes()
    whole = DicomLabel((path,), open_series(tmp_path / "ct")).read_label()[0]
    refused = 0
    for kept in np.linspace(0, len(content) - 2, 60).astype(int):
        path.write_bytes(content[:kept])
        try:
            (case,) = dicom.find(tmp_path, ("ct",))
            if case.label is not None:
                np.testing.assert_array_equal(case.label.read_label()[0], whole)
                continue
        except UserError as error:
            assert not any(secret in error.line for secret in files.SECRETS)
            refused += 1
            continue
        raise AssertionError(f"not noticed: {kept} of {len(content)} bytes")
    assert refused > 40
