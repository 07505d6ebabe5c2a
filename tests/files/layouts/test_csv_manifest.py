"""The CSV manifest: each case's files, named."""

import os

import numpy as np
import pytest

from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.files.layouts import catalogue, csv_manifest, dicom
from semicml_tf.files.source import NiftiFile
from tests.support.layout_folders import check_present, images


def test_csv(tmp_path):
    path = tmp_path / "cases.csv"
    path.write_text("case,ct,pet,label,partition\nB,img/b_ct.nii.gz,/abs/b pt.nii,,unlabelled\nA,a,b,c,test\n\n,,,,\n")
    assert catalogue.choose("auto", path) is csv_manifest
    first, second = csv_manifest.find(path, ["ct", "pet"])
    assert first.case_id == first.patient == "A" and first.partition == "test"
    assert first.label == NiftiFile(tmp_path / "c")
    assert {name: str(image) for name, image in images(second).items()} == {
        "ct": str(tmp_path / "img/b_ct.nii.gz"),
        "pet": "/abs/b pt.nii",
    }
    assert second.label is None and second.partition == "unlabelled"
    assert csv_manifest.modalities(path) == ("ct", "pet")
    assert csv_manifest.describe(path) == "CSV manifest: 2 cases; ct 0 (2 missing), pet 0 (2 missing); labels 0"


def test_columns_are_found_in_any_spelling(tmp_path):
    path = tmp_path / "cases.csv"
    path.write_text("case,CT,PT,T1-Gd,suv_peak\nA,a,b,c,d\n")
    (case,) = csv_manifest.find(path, ["ct", "suv", "t1ce"])
    assert {name: str(image) for name, image in images(case).items()} == {
        "ct": str(tmp_path / "a"),
        "suv": str(tmp_path / "b"),
        "t1ce": str(tmp_path / "c"),
    }
    path.write_text("case,CT,PT,suv\nA,a,b,c\n")
    assert str(images(csv_manifest.find(path, ["suv"])[0])["suv"]) == str(tmp_path / "c")
    with pytest.raises(UserError, match="column 'pet'"):  # PT or suv?
        csv_manifest.find(path, ["pet"])


def test_an_empty_cell_is_a_missing_modality(tmp_path):
    path = tmp_path / "cases.csv"
    path.write_text("case,ct,pet,patient\nA,a, ,P\nB,a,b,P\n")
    first, second = csv_manifest.find(path, ["ct", "pet"])
    assert set(first.images) == {"ct"} and first.present(["ct", "pet"]) == () and first.patient == second.patient == "P"
    told = dict(first.absent(with_label=True, modalities=["ct", "pet"]))
    assert list(told) == ["ct", "pet", "label"]
    assert "case A lacks the modality 'pet': its layout names no file" in told["pet"].line


def test_a_folder_is_a_dicom_series_and_a_label_may_be_dicom_too(tmp_path):
    small = ["--phantom_size_mm=96,96,32", "--phantom_spacing_mm=12,12,16", "--empty_fraction=0"]
    small += ["--cases=2", "--labelled=1", "--validation=0", "--test=0", "--layout=dicom"]
    commandline.call("semicml_tf.phantom", [f"--output={tmp_path / 'p'}", *small])
    path = tmp_path / "cases.csv"
    rows = [f"{case},p/{case}/pet,p/{case}/ct,p/{case}/label/{label}" for case, label in
            (("PHANTOM_000", "seg.dcm"), ("PHANTOM_001", "rtstruct.dcm"))]  # fmt: skip
    path.write_text("\n".join(["case,pet,ct,label", *rows]))
    for case, same in zip(csv_manifest.find(path, ["pet", "ct"]), dicom.find(tmp_path / "p", ["pet", "ct"])):
        check_present(case, with_label=True)
        assert case.label_on == case.images["ct"]
        for name in ("pet", "ct"):
            np.testing.assert_array_equal(case.images[name].read_volume()[0], same.images[name].read_volume()[0])
        label, grid = case.label.read_label()
        assert label.any() and grid.is_close(case.images["ct"].read_grid())
        np.testing.assert_array_equal(label, same.label.read_label()[0])


def test_a_folder_without_dicom_files(tmp_path):
    (tmp_path / "series").mkdir()
    os.mkfifo(tmp_path / "series/pipe.dcm")  # opening a pipe would block
    (tmp_path / "cases.csv").write_text("case,ct\nA,series\n")
    with pytest.raises(UserError, match="row 2, case A, 'ct': this is a folder; expected one series of DICOM images"):
        csv_manifest.find(tmp_path / "cases.csv", ["ct"])


@pytest.mark.parametrize("kind", ["a folder", "a named pipe", "a device", "a link that leads nowhere"])
def test_a_cell_that_names_no_regular_file(tmp_path, kind):
    path = tmp_path / "ct.nii.gz"
    make = {"a folder": path.mkdir, "a named pipe": lambda: os.mkfifo(path)}
    make.get(kind, lambda: path.symlink_to("/dev/zero" if kind == "a device" else path))()
    (tmp_path / "cases.csv").write_text("case,ct,label\nA,ct.nii.gz,ct.nii.gz\n")
    assert not csv_manifest.holds_patient_names(tmp_path / "cases.csv")
    (case,) = csv_manifest.find(tmp_path / "cases.csv", ["ct"])
    problems = [error.problem for _, error in case.absent(with_label=True)]
    assert problems == [
        f"case A lacks {what}: expected a file, got {kind}" for what in ("the modality 'ct'", "its label")
    ]
    with pytest.raises(UserError):
        case.images["ct"].read_volume()


@pytest.mark.parametrize(
    "text,message",
    [
        ("case,ct\nA,a\nA,b\n", "row 3: case A is there twice"),
        ("case,ct\n,a\n", "row 2: the cell 'case' is empty"),
        ("case,pet\nA,a\n", "column 'ct', got case, pet; unused: pet.* case,ct,label,patient / P1,P1_ct.nii.gz"),
        ("# x\n\nsep=;\ncase;ct\n# y\nA;a\nA;b\n", "row 7: case A is there twice"),
        ("case,ct\nA,a,b\n", "row 2 has more or fewer cells"),
        ("case,ct,label\nA,a\n", "row 2 has more or fewer cells"),
        ("case,ct,ct\nA,a,b\n", "the column 'ct' is there twice"),
        ("", "expected a column 'case', got none"),
        ("case,ct\n", "this manifest has no cases: no row follows its header"),
        ('case,ct\nA,"a\nB,b\nC,c\n', "row 2: a quote begins in this row and is not closed"),
        ('case,ct\n# x\nA,"a\nB,"b"\n', "row 3: a quote begins in this row and is not closed"),
    ],
)
def test_csv_refused(tmp_path, text, message):
    (tmp_path / "cases.csv").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        csv_manifest.find(tmp_path / "cases.csv", ["ct"])
    assert "cases.csv" in caught.value.line


def test_a_table_that_is_no_text(tmp_path):
    (tmp_path / "cases.csv").write_bytes(b"PK\x03\x04\xff\xfe")
    with pytest.raises(UserError, match="expected a CSV file in UTF-8"):
        csv_manifest.find(tmp_path / "cases.csv", ["ct"])


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffcase,ct\r\nMüller,a\r\n",
        "case;ct\nMüller;a\n",
        "case , ct\nMu\u0308ller , a\n",
        "sep=;\r\nCase;ct\r\nMüller;a\r\n",
        '"sep=\t"\ncase\tct\nMüller\ta\n',
        "case\tct\tnotes\nMüller\ta\tone, two; three\n",
        '# "our, cases\n\ncase,ct,,\n#Meyer,b,,\nMüller,a,,\n,,,\n',
        'case,ct\n"Müller","a"\n',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_csv_written_by_a_spreadsheet(tmp_path, text, encoding):
    (tmp_path / "cases.csv").write_bytes(text.encode(encoding))
    (case,) = csv_manifest.find(tmp_path / "cases.csv", ["ct"])
    assert case.case_id == "Müller" and case.images["ct"].path == tmp_path / "a"


def test_paths_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "cases.csv").write_text("case,ct,label\nA,~/a.nii,~/b.nii\n")
    (case,) = csv_manifest.find(tmp_path / "cases.csv", ["ct"])
    assert case.images["ct"].path == tmp_path / "home/a.nii" and case.label.path == tmp_path / "home/b.nii"


@pytest.mark.parametrize(
    "columns,told",
    [
        (
            "case,ct,tumour,notes",
            "no column 'label' and no column 'partition' and no column 'patient'; unused columns: tumour, notes",
        ),
        ("case,ct,label,subject", "no column 'partition' and no column 'patient'; unused columns: subject"),
        ("case,ct,label,patient,partition,notes", "unused columns: notes"),
        ("case,ct,label,patient,partition,pet,label2", "unused columns: label2"),
        ("case,ct,label,pet", ""),  # another modality
        ("case,ct", ""),
    ],
)
def test_unused_columns_are_named(tmp_path, columns, told):
    cells = dict.fromkeys(("pet", "tumour", "label", "label2"), "a.nii")
    row = ",".join(cells.get(name, "x") for name in columns.split(","))
    (tmp_path / "cases.csv").write_text(f"{columns}\n{row}\n")
    (tmp_path / "a.nii").touch()
    assert [one.problem for one in csv_manifest.oddities(tmp_path / "cases.csv", ["ct"])] == [told] * bool(told)
    named = [name for name in columns.split(",") if name in ("ct", "pet", "tumour")]
    assert list(csv_manifest.modalities(tmp_path / "cases.csv")) == named


def test_a_missing_label_file_is_refused(tmp_path):
    manifest = tmp_path / "cases.csv"
    manifest.write_text("case,ct,label\nA,a,\nB,b,b_label.nii.gz\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"b_label.nii.gz: row 3, case B: the label file does not exist"):
        csv_manifest.oddities(manifest, ["ct"])
    (tmp_path / "b_label.nii.gz").touch()
    assert csv_manifest.oddities(manifest, ["ct"]) == []


@pytest.mark.parametrize("column", ["mask", "Seg", "segmentation", "gt", "annotation", "label2"])
def test_a_column_that_most_likely_has_the_labels(tmp_path, column):
    (tmp_path / "cases.csv").write_text(f"case,ct,{column}\nA,a,b\n")
    with pytest.raises(UserError, match=f"unused: {column}. Did you mean 'label'\\?") as caught:
        csv_manifest.oddities(tmp_path / "cases.csv", ["ct"])
    assert "cases.csv" in caught.value.line
    assert csv_manifest.oddities(tmp_path / "cases.csv", ["ct", column]) == []  # the column is requested
