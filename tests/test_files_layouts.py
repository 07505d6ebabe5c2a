"""Which file is whose, in each layout."""

import pytest

from semicml_tf.errors import UserError
from semicml_tf.files import brats, csv_manifest, hecktor, layouts
from tests import image_folders


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_hecktor(tmp_path):
    image_folders.hecktor(tmp_path, ["B", "A"])
    touch(tmp_path / "imagesTr/A__MR.nii")
    assert layouts.choose("auto", tmp_path) is hecktor
    first, second = hecktor.find(tmp_path, ["pet", "mr"])
    assert (first.case_id, second.case_id) == ("A", "B")
    assert first.images == {"pet": tmp_path / "imagesTr/A__PT.nii.gz", "mr": tmp_path / "imagesTr/A__MR.nii"}
    assert first.label == tmp_path / "labelsTr/A.nii.gz"
    assert first.label_on == tmp_path / "imagesTr/A__CT.nii.gz"
    first.check_present(with_label=True)
    with pytest.raises(UserError, match=r"B__MR.nii.gz: case B lacks the modality 'mr'"):
        second.check_present(with_label=False)
    with pytest.raises(UserError, match="ct, pet, mr"):
        hecktor.find(tmp_path, ["t2"])


def test_hecktor_label_missing(tmp_path):
    image_folders.hecktor(tmp_path, ["A"])
    (tmp_path / "labelsTr/A.nii.gz").unlink()
    (case,) = hecktor.find(tmp_path, ["ct"])
    case.check_present(with_label=False)
    with pytest.raises(UserError, match=r"labelsTr/A.nii.gz: case A lacks its label"):
        case.check_present(with_label=True)
    (tmp_path / "imagesTr/A__CT.nii.gz").unlink()
    (case,) = hecktor.find(tmp_path, ["pet"])
    case.check_present(with_label=False)  # the image under the label matters where the label is read only
    with pytest.raises(UserError, match=r"A__CT.nii.gz: case A lacks the image on whose grid"):
        case.check_present(with_label=True)


def test_hecktor_file_there_twice(tmp_path):
    touch(tmp_path / "imagesTr/A__CT.nii.gz", tmp_path / "imagesTr/A__CT.nii")
    with pytest.raises(UserError, match=r"A__CT.*twice"):
        hecktor.find(tmp_path, ["ct"])


@pytest.mark.parametrize(
    "folder,case", [("", "BraTS20_Training_001"), ("", "BraTS2021_00002"), ("HGG", "BraTS19_CBICA_AAB_1")]
)
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_brats(tmp_path, folder, case, ending):
    place = tmp_path / folder / case
    touch(*(place / f"{case}_{what}{ending}" for what in ("t1", "t1ce", "t2", "flair", "seg")))
    (tmp_path / "LGG").mkdir()
    assert layouts.choose("auto", tmp_path) is brats
    (found,) = brats.find(tmp_path, ["t2", "t1ce"])
    assert found.case_id == case and found.label_on is None
    assert found.images == {"t2": place / f"{case}_t2{ending}", "t1ce": place / f"{case}_t1ce{ending}"}
    assert found.label == place / f"{case}_seg{ending}"
    found.check_present(with_label=True)
    (place / f"{case}_t1ce{ending}").unlink()
    (found,) = brats.find(tmp_path, ["t2", "t1ce"])
    with pytest.raises(UserError, match=rf"{case}_t1ce.nii.gz: case {case} lacks the modality 't1ce'"):
        found.check_present(with_label=False)


def test_brats_case_of_both_grades(tmp_path):
    touch(tmp_path / "HGG/A/A_t2.nii.gz", tmp_path / "LGG/A/A_t2.nii.gz")
    with pytest.raises(UserError, match="case A is there twice"):
        brats.find(tmp_path, ["t2"])


def test_csv(tmp_path):
    path = tmp_path / "cases.csv"
    path.write_text("case,ct,pet,label,partition\nB,img/b_ct.nii.gz,b_pt.nii,,unlabelled\nA,a,b,c,test\n")
    assert layouts.choose("auto", path) is csv_manifest
    first, second = csv_manifest.find(path, ["ct", "pet"])
    assert first.case_id == "A" and first.partition == "test" and first.label == tmp_path / "c"
    assert second.images == {"ct": tmp_path / "img/b_ct.nii.gz", "pet": tmp_path / "b_pt.nii"}
    assert second.label is None and second.partition == "unlabelled"


@pytest.mark.parametrize(
    "text,message",
    [
        ("case,ct\nA,a\nA,b\n", "row 3: case A is there twice"),
        ("case,ct\nA,\n", "row 2: the cell 'ct' of case A is empty"),
        ("case,ct\n,a\n", "row 2: the cell 'case' is empty"),
        ("case,pet\nA,a\n", "expected a column 'ct', got case, pet"),
        ("case,ct\nA,a,b\n", "row 2 has more or fewer cells"),
        ("case,ct,label\nA,a\n", "row 2 has more or fewer cells"),
        ("", "expected a column 'case', got none"),
    ],
)
def test_csv_refused(tmp_path, text, message):
    (tmp_path / "cases.csv").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        csv_manifest.find(tmp_path / "cases.csv", ["ct"])
    assert "cases.csv" in caught.value.line


def test_csv_written_by_a_spreadsheet(tmp_path):
    (tmp_path / "cases.csv").write_bytes("\ufeffcase,ct\r\nMüller,a\r\n".encode())
    assert csv_manifest.find(tmp_path / "cases.csv", ["ct"])[0].case_id == "Müller"


def test_unknown_layouts_are_told_the_known(tmp_path):
    for name, root, message in [
        ("auto", tmp_path, "none of the known layouts.*hecktor.*brats.*csv"),
        ("nnunet", tmp_path, "unknown layout 'nnunet'.*hecktor.*brats.*csv"),
        ("brats", tmp_path, "expected the layout brats"),
        ("auto", tmp_path / "none", "no such folder"),
    ]:
        with pytest.raises(UserError, match=message):
            layouts.choose(name, root)
