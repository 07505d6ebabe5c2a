"""Archives of DICOM files as cases: which series is which modality's, whose label is whose, and what stays unsaid."""

import logging
import os
import shutil
import subprocess
import sys

import numpy as np
import pydicom
import pytest

from semicml_tf.errors import UserError
from semicml_tf.files.dicom import scan
from semicml_tf.files.dicom.labels import DicomLabel
from semicml_tf.files.layouts import catalogue, dicom
from semicml_tf.files.layouts.options import LayoutOptions
from semicml_tf.files.source import NiftiFile
from tests.files.dicom.test_labels import box, write_rtstruct
from tests.support import dicom_files as files
from tests.support import image_folders


def study(root, patient, uid, *, series=("CT", "PT"), folder=None, **tags):
    """A study with one small series of each kind."""
    for number, modality in enumerate(series, start=1):
        files.write_series(
            root / (folder or f"{patient}-{uid}"),
            files.numbers((3, 4, 5), seed=number),
            modality=modality,
            series=str(number),
            study=uid,
            names=f"{uid}-{number}-{{}}",
            PatientID=patient,
            **tags,
        )


def find(root, modalities=("ct", "pet"), **options):
    return dicom.find(root, modalities, LayoutOptions(**options))


def test_a_case_is_a_study(tmp_path):
    study(tmp_path, "B", "1.5")
    study(tmp_path, "A", "1.7", StudyDate="20150101")
    study(tmp_path, "A", "1.6", StudyDate="20160101", series=("CT",))
    assert catalogue.choose("auto", tmp_path) is dicom and catalogue.choose("dicom", tmp_path) is dicom
    cases = find(tmp_path)
    # Studies of one patient are sorted by time, and have the id of the patient.
    assert [(case.case_id, case.patient) for case in cases] == [("A_1.7", "A"), ("A_1.6", "A"), ("B", "B")]
    assert [case.present(("ct", "pet")) for case in cases] == [("ct", "pet"), ("ct",), ("ct", "pet")]
    assert all(case.label is None and case.partition is None for case in cases)
    volume, _ = cases[2].images["ct"].read_volume()
    np.testing.assert_array_equal(volume, files.numbers((3, 4, 5), seed=1).transpose(2, 1, 0) - 1024)
    ((name, error),) = cases[1].absent(with_label=False, modalities=("ct", "pet"))
    assert name == "pet" and "lacks the modality 'pet'" in error.problem
    assert dicom.modalities(tmp_path) == ("ct", "pet")
    assert dicom.describe(tmp_path) == "DICOM: 3 cases of 2 patients; ct 3, pet 2 (1 missing); labels 0"


def test_labels_that_no_case_uses(tmp_path):
    """Labels without images, of an unused series, next to a NIfTI label, and of an unknown patient."""
    study(tmp_path, "A", "1.5", series=("CT",))
    orphan = write_rtstruct(tmp_path / "rt" / "orphan", {"GTV": [box(1.5, 3.5, 1.5, 3.5, 1)]})
    assert [(one.code, one.path) for one in dicom.oddities(tmp_path, ("ct",))] == [("unclaimed_file", orphan)]
    study(tmp_path, "B", "1.2.3", series=("CT",))  # its images
    assert dicom.oddities(tmp_path, ("ct",)) == []
    (tmp_path / "labels").mkdir()
    names = [tmp_path / "labels" / f"{name}.nii.gz" for name in ("B", "C")]
    for name in names:
        image_folders.write(name, np.zeros((5, 4, 3), np.uint8))
    assert {one.path for one in dicom.oddities(tmp_path, ("ct",))} == {orphan, names[1]}


def test_any_tree_in_any_order(tmp_path):
    study(tmp_path / "one", "B", "1.5")
    study(tmp_path / "one", "A", "1.6")
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, path in enumerate(sorted((tmp_path / "one").rglob("1.*"), reverse=True)):
        shutil.copy(path, flat / f"{number:04d}{'.dcm' if number % 2 else ''}")
    (flat / "notes.txt").write_text("nothing")
    (flat / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 50)
    (flat / ".hidden").write_bytes(b"")
    (flat / "loop").symlink_to(flat)
    for one, other in zip(find(tmp_path / "one"), find(flat), strict=True):
        assert one.case_id == other.case_id
        for name in ("ct", "pet"):
            np.testing.assert_array_equal(one.images[name].read_volume()[0], other.images[name].read_volume()[0])
            assert one.images[name].digest() == other.images[name].digest()
    assert find(flat) == find(flat)


def test_links_to_folders_are_followed_once(tmp_path):
    study(tmp_path / "elsewhere", "A", "1.6")
    (tmp_path / "root").mkdir()
    (tmp_path / "root/a").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root/b").symlink_to(tmp_path / "elsewhere")
    (case,) = find(tmp_path / "root")
    assert len(case.images["ct"].files) == 3


def test_mr_by_description(tmp_path):
    root = tmp_path
    for number, text in enumerate(("AX T2 TSE", "t1 post contrast", "AX T2 FLAIR"), start=1):
        files.write_series(
            root / "p",
            files.numbers((3, 4, 5), seed=number),
            modality="MR",
            series=str(number),
            names=f"{number}-{{}}",
            SeriesDescription=text,
        )
    (case,) = find(root, ("t2", "t1ce"), dicom_series={"t2": "T2.*TSE", "t1ce": "post"})
    for name, seed in (("t2", 1), ("t1ce", 2)):
        expected = files.numbers((3, 4, 5), seed=seed).transpose(2, 1, 0)
        np.testing.assert_array_equal(case.images[name].read_volume()[0], expected)
    (case,) = find(root, ("t2", "t1ce"), dicom_series={"t2": "T2", "t1ce": "post"})
    assert not case.images["t2"].missing()
    for read in ("read_volume", "read_grid", "digest"):
        with pytest.raises(UserError) as caught:
            getattr(case.images["t2"], read)()
    assert "got 2 that match 'T2': #1 'AX T2 TSE' (3 files); #3 'AX T2 FLAIR' (3 files)" in caught.value.problem
    assert "--dicom_series=t2=REGEX" in caught.value.remedy
    (case,) = find(root, ("t2",))
    with pytest.raises(UserError, match="expected one MR series for 't2', got 3:"):
        case.images["t2"].read_volume()
    assert dicom.describe(root, LayoutOptions(dicom_series={"t2": "TSE"})) == "DICOM: 1 case; t2 1; labels 0"
    assert dicom.modalities(root) == ("mr",)


def test_one_series_is_not_two_modalities(tmp_path):
    files.write_series(tmp_path, files.numbers((3, 4, 5)), modality="MR")
    (case,) = find(tmp_path, ("t1", "t2"))
    with pytest.raises(UserError, match="one series would be both 't1' and 't2': #1 'series 1'"):
        case.images["t1"].read_volume()


def test_two_ct_series(tmp_path):
    study(tmp_path, "A", "1.6")
    files.write_series(
        tmp_path / "x", files.numbers((2, 4, 4)), series="7", study="1.6", PatientID="A", SeriesDescription="lung"
    )
    (case,) = find(tmp_path)
    with pytest.raises(UserError, match=r"got 2: #1 'series 1' \(3 files\); #7 'lung' \(2 files\).*--dicom_series=ct="):
        case.images["ct"].read_volume()
    (case,) = find(tmp_path, dicom_series={"ct": "^lung$"})
    assert case.images["ct"].read_grid().shape == (4, 4, 2)


def test_pet_without_attenuation_correction_is_ignored(tmp_path):
    study(tmp_path, "A", "1.6")
    files.write_series(
        tmp_path / "nac",
        files.numbers((3, 4, 4)),
        modality="PT",
        series="8",
        study="1.6",
        PatientID="A",
        CorrectedImage=["DECY"],
    )
    (case,) = find(tmp_path)
    assert case.images["pet"].series_uid == "1.6.2"


@pytest.mark.parametrize(
    "options,message",
    [
        ({"dicom_series": {"ct": "("}}, "no regular expression"),
        ({"label_roi": "["}, "--label_roi: .* no regular expression"),
        ({"dicom_series": {"ct": "nowhere"}}, "ct=nowhere matches no CT series, got 'series 1'"),
    ],
)
def test_invalid_options_are_refused(tmp_path, options, message):
    study(tmp_path, "A", "1.6")
    with pytest.raises(UserError, match=message):
        find(tmp_path, **options)


def test_studies_without_exactly_one_patient_id(tmp_path):
    study(tmp_path / "a", "", "1.6")
    with pytest.raises(UserError, match=r"expected a study with one PatientID, got none"):
        find(tmp_path / "a")
    study(tmp_path / "b", "A", "1.6", series=("CT",))
    study(tmp_path / "b", "B", "1.6", series=("CT",), SeriesInstanceUID="1.6.44")
    with pytest.raises(UserError, match=r"expected a study with one PatientID, got several"):
        find(tmp_path / "b")
    (tmp_path / "c").mkdir()
    with pytest.raises(UserError, match="has no DICOM image"):
        find(tmp_path / "c")
    assert not dicom.detect(tmp_path / "c")


def test_labels_of_the_study(tmp_path):
    study(tmp_path, files.PRIVATE_ID, "1.2.3")
    study(tmp_path, "B", "1.9")
    path = write_rtstruct(tmp_path / "labels of all/rt", {"GTV": [box(0.5, 2.5, 0.5, 2.5, 1)]})
    cases = {case.patient: case for case in find(tmp_path)}
    label = cases[files.PRIVATE_ID].label
    assert isinstance(label, DicomLabel) and label.files == (path,) and label.series.series_uid == "1.2.3.1"
    assert cases[files.PRIVATE_ID].label_on == label.series and cases["B"].label is None
    assert label.read_label()[0].sum() == 4


def test_label_belongs_to_the_series_to_which_it_refers(tmp_path):
    """The label has the grid of the series to which it refers, whichever CT series is converted."""
    study(tmp_path, files.PRIVATE_ID, "1.2.3")
    files.write_series(
        tmp_path / "x", files.numbers((2, 4, 4)), series="7", SeriesDescription="lung", FrameOfReferenceUID="1.2.3.9"
    )
    write_rtstruct(tmp_path / "rt", {"GTV": [box(0.5, 2.5, 0.5, 2.5, 1)]})
    (case,) = find(tmp_path, dicom_series={"ct": "lung"})
    assert case.images["ct"].series_uid == "1.2.3.7" and case.label_on.series_uid == "1.2.3.1"
    # Without this series, the frame of reference decides.
    shutil.rmtree(tmp_path / f"{files.PRIVATE_ID}-1.2.3")
    (case,) = find(tmp_path, ("ct",), dicom_series={"ct": "lung"})
    assert case.label_on.series_uid == "1.2.3.7"


def test_label_in_a_study_of_its_own(tmp_path):
    study(tmp_path, files.PRIVATE_ID, "1.2.3")
    path = write_rtstruct(tmp_path / "rt", {"GTV": [box(0.5, 2.5, 0.5, 2.5, 1)]})
    made = pydicom.dcmread(path)
    made.StudyInstanceUID = "1.99"
    files.save(made, path)
    (case,) = find(tmp_path)
    assert case.label.files == (path,) and case.label_on.series_uid == "1.2.3.1"


def test_nifti_labels(tmp_path):
    study(tmp_path, "A/1", "1.6")
    study(tmp_path, "B", "1.7")
    study(tmp_path, "B", "1.8")
    study(tmp_path, "C", "1.9", folder="deep/C")
    (tmp_path / "labels").mkdir()
    # An id that is no file name cannot name a label; the UID of the study can.
    paths = [tmp_path / "labels" / name for name in ("1.6.nii.gz", "B.nii.gz", "1.8.nii")]
    paths.append(tmp_path / "deep/C/label.nii.gz")
    for path in paths:
        image_folders.write(path, image_folders.label((5, 4, 3)))
    labels = {case.case_id: case.label for case in find(tmp_path)}
    assert labels == {
        "A/1": NiftiFile(paths[0]),
        "B_1.7": None,  # B.nii.gz: of which of B's studies?
        "B_1.8": NiftiFile(paths[2]),
        "C": NiftiFile(paths[3]),
    }
    image_folders.write(tmp_path / "labels/C.nii", image_folders.label((5, 4, 3)))
    with pytest.raises(UserError, match="two NIfTI labels"):
        find(tmp_path)


def test_damaged_files(tmp_path):
    study(tmp_path, "A", "1.6")
    study(tmp_path, "B", "1.7")
    (tmp_path / "A-1.6/zero.dcm").touch()
    cases = find(tmp_path)
    with pytest.raises(UserError, match="zero.dcm: the file is empty"):
        cases[0].images["ct"].read_volume()
    cases[1].images["ct"].read_volume()  # the other patient is not affected
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/gone.dcm").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match="gone.dcm: this DICOM file is empty or damaged"):
        find(tmp_path)


def test_labels_are_not_opened_in_the_search(tmp_path, monkeypatch):
    study(tmp_path, files.PRIVATE_ID, "1.2.3")
    write_rtstruct(tmp_path / "rt", {"SECRET ROI": [box(0.5, 2.5, 0.5, 2.5, 1)]})
    read = []
    original = pydicom.dcmread
    monkeypatch.setattr(pydicom, "dcmread", lambda *args, **named: read.append(original(*args, **named)) or read[-1])
    scan._scan.cache_clear()
    (case,) = find(tmp_path)
    assert len(read) == 7  # each file is read once
    for dataset in read:
        assert "PixelData" not in dataset and "ROIContourSequence" not in dataset
        assert "StructureSetROISequence" not in dataset and "PatientName" not in dataset
    find(tmp_path)
    assert len(read) == 7  # and not again until a file changes
    os.utime(case.images["ct"].files[0], (1, 1))
    find(tmp_path)
    assert len(read) > 7


def test_messages_have_no_data_of_patients(tmp_path, caplog, recwarn):
    odd = {"PatientBirthDate": "SECRET BIRTH", "PatientAge": "SECRETAGE"}
    with pydicom.config.disable_value_validation():
        study(tmp_path, "SECRETID", "1.6", **odd)
    with caplog.at_level(logging.DEBUG):
        told = dicom.describe(tmp_path)
        (case,) = find(tmp_path)
        case.images["pet"].read_volume()
    assert not any(secret in told + caplog.text for secret in files.SECRETS)
    assert not [str(one.message) for one in recwarn if "SECRET" in str(one.message)]


def test_warnings_do_not_reach_the_screen(tmp_path):
    odd = {"PatientBirthDate": "SECRET BIRTH", "PatientAge": "SECRETAGE", "StudyDate": "SECRETDAY"}
    with pydicom.config.disable_value_validation():
        study(tmp_path, "SECRETID", "1.6", **odd)
    code = (
        "import pathlib, sys\nfrom semicml_tf.files.layouts import dicom\n"
        "(case,) = dicom.find(pathlib.Path(sys.argv[1]), ('ct', 'pet'))\n"
        "print(case.images['pet'].read_volume()[0].shape)\n"
    )
    command = [sys.executable, "-W", "always", "-c", code, str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "(5, 4, 3)" and "SECRET" not in ran.stderr


def test_a_study_whose_only_ct_does_not_match_is_refused(tmp_path):
    study(tmp_path, "A", "1.1")
    study(tmp_path, "B", "1.2", SeriesDescription="bone")
    with_bone, without = sorted(find(tmp_path, dicom_series={"ct": "bone"}), key=lambda case: case.case_id == "A")
    with_bone.images["ct"].read_volume()
    with pytest.raises(UserError, match=r"no CT series matches 'bone', got #1 'series 1'.*--dicom_series=ct="):
        without.images["ct"].read_volume()
