"""Phantoms written as DICOM and read back."""

import datetime
import pathlib

import numpy as np
import pydicom
import pytest

from semicml_tf.files.layouts import dicom
from semicml_tf.files.layouts.options import LayoutOptions
from semicml_tf.phantom import case as cases
from semicml_tf.phantom import dicom_object
from semicml_tf.phantom.dicom_writer import write_dicom

SMALL = {"size_mm": (120, 120, 64), "spacing_mm": (4, 4, 4), "empty_fraction": 0}


def with_lesion(**options):
    """The first case that has a lesion in its field of view."""
    return next(case for case in (cases.generate(0, n, **SMALL, **options) for n in range(20)) if case.label.any())


def canonical(array, grid):
    """Array and grid in slice, row, column order, whatever order they came in."""
    reordered, order, flips = grid.reordered()
    return np.transpose(array, order)[tuple(slice(None, None, -1 if flip else 1) for flip in flips)], reordered


def check_same(read, made, tolerance=0.0):
    (values, grid), (expected, expected_grid) = canonical(*read), canonical(*made)
    assert grid.is_close(expected_grid, 1e-3)
    np.testing.assert_allclose(values, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("oblique", [False, True])
@pytest.mark.parametrize("label", ["seg", "rtstruct"])
def test_trunk_round_trip(tmp_path, oblique, label):
    made = with_lesion(oblique=oblique, mr=True)
    paths = write_dicom(tmp_path, made, label=label)
    assert all((tmp_path / path).exists() for path in paths.values())
    (found,) = dicom.find(tmp_path, ("ct", "pet", "mr"))
    check_same(found.images["mr"].read_volume(), made.images["mr"])
    assert found.case_id == found.patient == made.case_id
    check_same(found.images["ct"].read_volume(), made.images["ct"])
    # The NIfTI phantom's steps of 1/1024 SUV, exactly, through Bq/ml, slopes of their own and the decay.
    volume, grid = made.images["pet"]
    stepped = np.round(volume.astype(np.float64) * 1024).clip(0, 32767) / 1024
    check_same(found.images["pet"].read_volume(), (stepped, grid), tolerance=1e-5)
    check_same(found.label.read_label(), (made.label > 0, made.label_grid))
    assert found.label_on == found.images["ct"]


def test_slopes_differ_from_slice_to_slice(tmp_path):
    write_dicom(tmp_path, with_lesion())
    slopes = {float(pydicom.dcmread(path).RescaleSlope) for path in tmp_path.rglob("pet/*.dcm")}
    assert len(slopes) > 1


def test_head_round_trip_by_description(tmp_path):
    made = with_lesion(body="head")
    write_dicom(tmp_path, made)
    expressions = {name: f"^phantom {name}$" for name in made.images}
    (found,) = dicom.find(tmp_path, tuple(made.images), LayoutOptions(dicom_series=expressions))
    for name, volume in made.images.items():
        check_same(found.images[name].read_volume(), volume)
    check_same(found.label.read_label(), (made.label > 0, made.label_grid))


@pytest.mark.parametrize("label", ["seg", "rtstruct"])
def test_no_lesion(tmp_path, label):
    made = cases.generate(0, 0, **(SMALL | {"empty_fraction": 1}))
    write_dicom(tmp_path, made, label=label)
    (found,) = dicom.find(tmp_path, ("ct", "pet"))
    assert not found.label.read_label()[0].any()


def test_label_formats_alternate(tmp_path):
    paths = [write_dicom(tmp_path, cases.generate(0, n, **SMALL))["label"] for n in (0, 1)]
    assert [pathlib.Path(path).name for path in paths] == ["seg.dcm", "rtstruct.dcm"]


@pytest.mark.parametrize("label", ["seg", "rtstruct"])
def test_same_case_same_bytes_at_any_time(tmp_path, label, monkeypatch):
    made = with_lesion()
    write_dicom(tmp_path / "a", made, label=label)
    with monkeypatch.context() as patched:

        class Later(datetime.datetime):
            @classmethod
            def now(cls, tz=None):
                return datetime.datetime(2031, 5, 6, 7, 8, 9, tzinfo=tz)

        patched.setattr(datetime, "datetime", Later)
        write_dicom(tmp_path / "b", made, label=label)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.dcm"))
    assert files
    for path in files:
        content = (tmp_path / "a" / path).read_bytes()
        assert content == (tmp_path / "b" / path).read_bytes(), path
        # A date of today would be one of the clock.
        assert datetime.date.today().strftime("%Y%m%d").encode() not in content
    other = cases.generate(1, 0, **SMALL)
    write_dicom(tmp_path / "c", other, label=label)
    uids = [pydicom.dcmread(tmp_path / name / files[0]).SOPInstanceUID for name in "ac"]
    assert uids[0] != uids[1]


def test_every_file_names_the_invented_patient(tmp_path):
    made = with_lesion()
    write_dicom(tmp_path, made)
    for path in tmp_path.rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        assert dataset.PatientName == dicom_object.PATIENT_NAME and dataset.PatientID == made.case_id
        assert dataset.PatientBirthDate == dicom_object.BIRTH_DATE
