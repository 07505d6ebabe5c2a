"""HECKTOR 2022, and 2020 and 2021: which file is whose."""

import pytest

from semicml_tf.errors import UserError
from semicml_tf.files.layouts import catalogue
from semicml_tf.files.layouts.hecktor import HECKTOR, HECKTOR_2021
from semicml_tf.files.source import NiftiFile
from tests.support import image_folders
from tests.support.layout_folders import check_present, images, touch


def test_hecktor(tmp_path):
    image_folders.hecktor(tmp_path, ["B", "A"])
    touch(tmp_path / "imagesTr/A__MR.nii")
    assert catalogue.choose("auto", tmp_path) is HECKTOR
    first, second = HECKTOR.find(tmp_path, ["pet", "mr"])
    assert (first.case_id, second.case_id) == ("A", "B")
    assert images(first) == {"pet": tmp_path / "imagesTr/A__PT.nii.gz", "mr": tmp_path / "imagesTr/A__MR.nii"}
    assert first.label == NiftiFile(tmp_path / "labelsTr/A.nii.gz")
    assert first.label_on == NiftiFile(tmp_path / "imagesTr/A__CT.nii.gz")
    check_present(first, with_label=True)
    with pytest.raises(UserError, match=r"B__MR.nii.gz: case B lacks the modality 'mr'"):
        check_present(second, with_label=False)
    with pytest.raises(UserError, match="ct, pet, mr"):
        HECKTOR.find(tmp_path, ["t2"])
    assert images(HECKTOR.find(tmp_path, ["PT"])[0]) == {"PT": tmp_path / "imagesTr/A__PT.nii.gz"}
    with pytest.raises(UserError, match="names 'pet' twice, also as 'PT'"):
        HECKTOR.find(tmp_path, ["pet", "PT"])
    assert HECKTOR.describe(tmp_path) == "HECKTOR 2022: 2 cases; ct 2, pet 2, mr 1 (1 missing); labels 2"


def test_hecktor_label_missing(tmp_path):
    image_folders.hecktor(tmp_path, ["A"])
    (tmp_path / "labelsTr/A.nii.gz").unlink()
    (case,) = HECKTOR.find(tmp_path, ["ct"])
    check_present(case, with_label=False)
    with pytest.raises(UserError, match=r"labelsTr/A.nii.gz: case A lacks its label"):
        check_present(case, with_label=True)
    (tmp_path / "imagesTr/A__CT.nii.gz").unlink()
    (case,) = HECKTOR.find(tmp_path, ["pet"])
    check_present(case, with_label=False)  # the image of the label's grid is needed only with the label
    with pytest.raises(UserError, match=r"A__CT.nii.gz: case A lacks the image on whose grid"):
        check_present(case, with_label=True)


def test_hecktor_file_exists_twice(tmp_path):
    touch(tmp_path / "imagesTr/A__CT.nii.gz", tmp_path / "imagesTr/A__CT.nii")
    with pytest.raises(UserError, match=r"A__CT.*twice"):
        HECKTOR.find(tmp_path, ["ct"])


def test_hecktor_cases_without_labels_in_a_separate_folder(tmp_path):
    touch(tmp_path / "imagesTr/A__CT.nii.gz", tmp_path / "imagesTs/B__CT.nii.gz", tmp_path / "labelsTr/A.nii.gz")
    assert [case.has_label() for case in HECKTOR.find(tmp_path, ["ct"])] == [True, False]
    touch(tmp_path / "imagesTs/A__CT.nii.gz")
    with pytest.raises(UserError, match="case A is there twice"):
        HECKTOR.find(tmp_path, ["ct"])


@pytest.mark.parametrize("place", ["", "hecktor_nii", "hecktor2021_train/hecktor_nii"])
def test_hecktor_2021(tmp_path, place):
    folder = tmp_path / place
    touch(*(folder / f"{case}_{what}.nii.gz" for case in ("CHUV002", "CHGJ007") for what in ("ct", "pt", "gtvt")))
    touch(tmp_path / "hecktor2021_patient_info_training.csv", folder / "._CHGJ007_ct.nii.gz")
    assert catalogue.choose("auto", tmp_path) is HECKTOR_2021
    first, second = HECKTOR_2021.find(tmp_path, ["ct", "pet"])
    assert (first.case_id, second.case_id) == ("CHGJ007", "CHUV002")
    assert images(first) == {"ct": folder / "CHGJ007_ct.nii.gz", "pet": folder / "CHGJ007_pt.nii.gz"}
    assert first.label == NiftiFile(folder / "CHGJ007_gtvt.nii.gz") and first.label_on == first.images["ct"]
    assert "2020 or 2021: 2 cases; ct 2, pet 2; labels 2" in HECKTOR_2021.describe(tmp_path)


def test_hecktor_2021_training_and_test(tmp_path):
    touch(*(tmp_path / f"hecktor2021_train/hecktor_nii/A_{what}.nii.gz" for what in ("ct", "pt", "gtvt")))
    touch(*(tmp_path / f"hecktor2021_test/hecktor_nii/B_{what}.nii.gz" for what in ("ct", "pt")))
    cases = HECKTOR_2021.find(tmp_path, ["ct"])
    assert [(case.case_id, case.has_label()) for case in cases] == [("A", True), ("B", False)]
    touch(tmp_path / "hecktor2021_test/hecktor_nii/A_ct.nii.gz")
    with pytest.raises(UserError, match="case A is there twice"):
        HECKTOR_2021.find(tmp_path, ["ct"])
