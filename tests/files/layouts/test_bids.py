"""BIDS: subjects, sessions, suffixes, and the one label among the derivatives."""

import pytest

from semicml_tf.errors import UserError
from semicml_tf.files.layouts import bids, catalogue
from semicml_tf.files.layouts.options import LayoutOptions
from tests.support.layout_folders import check_present, images, touch


def test_subjects_and_sessions(tmp_path):
    touch(tmp_path / "dataset_description.json", tmp_path / "sub-02/ct/sub-02_ct.nii.gz")
    touch(tmp_path / "sub-02/pet/sub-02_trc-FDG_pet.nii.gz")
    anat = tmp_path / "sub-01/ses-b/anat"
    touch(*(anat / f"sub-01_ses-b_{what}.nii.gz" for what in ("T1w", "ce-gd_T1w", "T2w", "FLAIR", "PDw")))
    touch(tmp_path / "sub-01/ses-a/anat/sub-01_ses-a_T2w.nii", anat / "sub-01_ses-b_label-x_mask.nii.gz")
    touch(tmp_path / "derivatives/d/sub-01/ses-b/anat/sub-01_ses-b_dseg.nii.gz")
    assert catalogue.choose("auto", tmp_path) is bids
    assert bids.modalities(tmp_path) == ("ct", "flair", "pdw", "pet", "t1", "t1ce", "t2")
    a, b, second = bids.find(tmp_path, ["t1", "t1ce", "t2", "flair", "pdw"])
    assert [case.case_id for case in (a, b, second)] == ["sub-01_ses-a", "sub-01_ses-b", "sub-02"]
    assert [case.patient for case in (a, b, second)] == ["sub-01", "sub-01", "sub-02"]
    assert images(b) == {
        "t1": anat / "sub-01_ses-b_T1w.nii.gz",
        "t1ce": anat / "sub-01_ses-b_ce-gd_T1w.nii.gz",
        "t2": anat / "sub-01_ses-b_T2w.nii.gz",
        "flair": anat / "sub-01_ses-b_FLAIR.nii.gz",
        "pdw": anat / "sub-01_ses-b_PDw.nii.gz",
    }
    assert b.label.path.name == "sub-01_ses-b_dseg.nii.gz" and a.label is None
    with pytest.raises(UserError, match="sub-01/ses-a/anat/sub-01_ses-a_FLAIR.nii.gz: .*lacks the modality 'flair'"):
        check_present(bids.find(tmp_path, ["flair"])[0], with_label=False)
    assert bids.find(tmp_path, ["ct", "pet"])[2].present(["ct", "pet"]) == ("ct", "pet")
    with pytest.raises(UserError, match="got 'dwi'"):
        bids.find(tmp_path, ["dwi"])
    told = bids.describe(tmp_path)
    assert told.startswith("BIDS: 3 cases of 2 patients; ct 1 (2 missing)") and told.endswith("labels 1")


@pytest.fixture
def subject(tmp_path):
    touch(tmp_path / "sub-01/anat/sub-01_T2w.nii.gz")
    return tmp_path


def label(root, **options):
    return bids.find(root, ["t2"], LayoutOptions(**options))[0].label


def test_the_lesion_mask_takes_precedence(subject):
    place = subject / "derivatives/masks/sub-01/anat"
    touch(place / "sub-01_desc-brain_mask.nii.gz", place / "sub-01_label-WM_mask.nii.gz")
    assert label(subject) is None  # masks of anatomy are no lesions
    touch(place / "sub-01_space-orig_dseg.nii.gz")
    assert label(subject).path.name == "sub-01_space-orig_dseg.nii.gz"
    touch(place / "sub-01_label-lesion_mask.nii.gz")
    assert label(subject).path.name == "sub-01_label-lesion_mask.nii.gz"


def test_several_labels_are_listed_where_one_is_read(subject):
    touch(subject / "derivatives/a/sub-01/anat/sub-01_label-lesion_mask.nii.gz")
    touch(subject / "derivatives/b/sub-01/sub-01_label-lesion_dseg.nii.gz")
    (case,) = bids.find(subject, ["t2"])
    check_present(case, with_label=False)
    message = (
        "2 files that may be its label: sub-01_label-lesion_mask.nii.gz, sub-01_label-lesion_dseg.nii.gz.*--label_r"
    )
    for read in (case.label.read_label, case.label.read_grid, case.label.digest, case.label.read_volume):
        with pytest.raises(UserError, match=message):
            read()
    assert label(subject, label_roi="dseg").path.name == "sub-01_label-lesion_dseg.nii.gz"
    with pytest.raises(UserError, match="--label_roi is no regular expression"):
        label(subject, label_roi="(")


def test_several_images_of_one_modality_are_listed_where_one_is_read(subject):
    touch(subject / "sub-01/anat/sub-01_run-2_T2w.nii.gz", subject / "sub-01/anat/sub-01_T1w.nii.gz")
    (case,) = bids.find(subject, ["t1", "t2"])
    assert case.images["t1"].path.name == "sub-01_T1w.nii.gz"
    with pytest.raises(UserError, match="sub-01 has 2 files of 't2': sub-01_T2w.nii.gz, sub-01_run-2_T2w.nii.gz|run-2"):
        case.images["t2"].read_volume()
    assert "t2 1" in bids.describe(subject)


def test_the_label_of_another_session_or_subject_is_ignored(subject):
    touch(subject / "derivatives/d/sub-011/anat/sub-011_dseg.nii.gz")
    touch(subject / "derivatives/d/sub-01/ses-2/anat/sub-01_ses-2_dseg.nii.gz")
    assert label(subject) is None
