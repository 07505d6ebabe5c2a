"""BraTS, all years: which file is whose, patients of several studies, the misnamed segmentation."""

import pytest

from semicml_tf.errors import UserError
from semicml_tf.files.layouts import catalogue
from semicml_tf.files.layouts.brats import BRATS, BRATS_2023
from semicml_tf.files.layouts.options import LayoutOptions
from semicml_tf.files.source import NiftiFile
from tests.support.file_names import any_letters
from tests.support.layout_folders import check_present, images, touch

WORDS = {"t1": "t1n", "t1ce": "t1c", "t2": "t2w", "flair": "t2f"}


@pytest.mark.parametrize(
    "folder,case,patient,year",
    [
        ("HGG", "Brats18_TCIA02_606_1", "Brats18_TCIA02_606", 2018),
        ("HGG", "BraTS19_CBICA_AAB_1", "BraTS19_CBICA_AAB", 2019),
        ("", "BraTS20_Training_001", "BraTS20_Training_001", 2020),
        ("", "BraTS2021_00002", "BraTS2021_00002", 2021),
    ],
)
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_brats(tmp_path, folder, case, patient, year, ending):
    place = tmp_path / folder / case
    touch(*(place / f"{case}_{what}{ending}" for what in ("t1", "t1ce", "t2", "flair", "seg")))
    touch(place / f"._{case}_t1{ending}")
    (tmp_path / "LGG").mkdir()
    assert catalogue.choose("auto", tmp_path) is BRATS
    (found,) = BRATS.find(tmp_path, ["t2", "t1ce"])
    assert (found.case_id, found.patient) == (case, patient) and found.label_on is None
    assert images(found) == {"t2": place / f"{case}_t2{ending}", "t1ce": place / f"{case}_t1ce{ending}"}
    assert found.label == NiftiFile(place / f"{case}_seg{ending}") and not found.near_matches
    check_present(found, with_label=True)
    (place / f"{case}_t1ce{ending}").unlink()
    (found,) = BRATS.find(tmp_path, ["t2", "t1ce"])
    with pytest.raises(UserError, match=rf"{case}_t1ce{ending}: case {case} lacks the modality 't1ce'"):
        check_present(found, with_label=False)
    assert BRATS.describe(tmp_path) == f"BraTS {year}: 1 case; t1 1, t1ce 0 (1 missing), t2 1, flair 1; labels 1"


def test_other_names_of_the_modalities_and_unknown_ones(tmp_path):
    touch(tmp_path / "A/A_t1ce.nii.gz")
    assert images(BRATS.find(tmp_path, ["t1c"])[0]) == {"t1c": tmp_path / "A/A_t1ce.nii.gz"}
    with pytest.raises(UserError, match="layout brats has the modalities t1, t1ce, t2, flair, got 'ct'"):
        BRATS.find(tmp_path, ["ct"])
    with pytest.raises(UserError, match="names 't1ce' twice, also as 't1gd'"):
        BRATS.find(tmp_path, ["t1ce", "t1gd"])


def test_brats_case_of_both_grades(tmp_path):
    touch(tmp_path / "HGG/A/A_t2.nii.gz", tmp_path / "LGG/A/A_t2.nii.gz")
    with pytest.raises(UserError, match="case A is there twice"):
        BRATS.find(tmp_path, ["t2"])


def test_a_file_zipped_and_not(tmp_path):
    touch(tmp_path / "A/A_t2.nii.gz", tmp_path / "A/A_t2.nii")
    with pytest.raises(UserError, match="'A_t2' is there twice.*Remove it or A_t2.nii"):
        BRATS.find(tmp_path, ["t2"])


def test_the_misnamed_segmentation_of_2020_is_used_on_request(tmp_path):
    case = "BraTS20_Training_355"
    place = tmp_path / case
    touch(*(place / f"{case}_{what}.nii" for what in ("t1", "t1ce", "t2", "flair")), place / "W39_1998.09.19_Segm.nii")
    (found,) = BRATS.find(tmp_path, ["t2"])
    check_present(found, with_label=False)
    message = rf"{case}_seg.nii: .*lacks its label.*W39_1998.09.19_Segm.nii.*rename it to {case}_seg.nii, or pass --acc"
    with pytest.raises(UserError, match=message):
        check_present(found, with_label=True)
    (found,) = BRATS.find(tmp_path, ["t2"], LayoutOptions(accept_near_matches=True))
    check_present(found, with_label=True)
    assert found.label.path == found.near_matches["label"] == place / "W39_1998.09.19_Segm.nii"
    # If two files are candidates, neither is offered.
    touch(place / "old_seg.nii")
    (found,) = BRATS.find(tmp_path, ["t2"], LayoutOptions(accept_near_matches=True))
    assert not found.near_matches and found.label.missing() == place / f"{case}_seg.nii"


def test_a_misnamed_image_is_offered(tmp_path):
    touch(tmp_path / "A/A_t1ce.nii", tmp_path / "A/A_T2.nii", tmp_path / "A/A_seg.nii", tmp_path / "A/notes_on_t1.txt")
    (found,) = BRATS.find(tmp_path, ["t1", "t1ce", "t2"])
    assert found.near_matches == {"t2": tmp_path / "A/A_T2.nii"}
    what, error = next(found.absent(with_label=True))
    assert what == "t1" and "A_t1.nii" in error.line
    assert [what for what, _ in found.absent(with_label=True)] == ["t1", "t2"]


def test_brats_2023(tmp_path):
    for case in ("BraTS-GLI-00001-000", "BraTS-GLI-00001-001", "BraTS-GLI-00002-000"):
        touch(*(tmp_path / case / f"{case}-{what}.nii.gz" for what in (*WORDS.values(), "seg")))
    assert catalogue.choose("auto", tmp_path) is BRATS_2023
    cases = BRATS_2023.find(tmp_path, ["flair", "t1c"])
    assert [case.patient for case in cases] == ["BraTS-GLI-00001", "BraTS-GLI-00001", "BraTS-GLI-00002"]
    place = tmp_path / "BraTS-GLI-00001-000"
    assert images(cases[0]) == {"flair": place / f"{place.name}-t2f.nii.gz", "t1c": place / f"{place.name}-t1c.nii.gz"}
    assert cases[0].label == NiftiFile(place / f"{place.name}-seg.nii.gz")
    assert images(BRATS_2023.find(tmp_path, ["t2f"])[0]) == {"t2f": place / f"{place.name}-t2f.nii.gz"}
    (place / f"{place.name}-seg.nii.gz").unlink()
    told = BRATS_2023.describe(tmp_path)
    assert told == "BraTS of 2023 or later, GLI: 3 cases of 2 patients; t1 3, t1ce 3, t2 3, flair 3; labels 2"


@any_letters
def test_names_with_spaces_and_letters_of_any_alphabet(tmp_path):
    case = "Müller 王"
    touch(tmp_path / case / f"{case}_t2.nii.gz")
    (found,) = BRATS.find(tmp_path, ["t2"])
    assert found.case_id == case and not found.images["t2"].missing()
    # In the decomposed form of macOS, the name of the case is the same.
    decomposed = "Mu\u0308ller 王"
    touch(tmp_path / "mac" / decomposed / f"{decomposed}_t2.nii.gz")
    (found,) = BRATS.find(tmp_path / "mac", ["t2"])
    assert found.case_id == case and not found.images["t2"].missing()
