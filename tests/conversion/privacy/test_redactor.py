"""No name and no path of the input is left in a message; the rest of the message stays."""

import os
import pathlib
import shlex
import types
import unicodedata

import pytest

from semicml_tf.conversion.privacy.redactor import _HIDDEN, Redactor
from semicml_tf.conversion.verification.findings import Finding
from semicml_tf.errors import UserError
from semicml_tf.files.case import CaseFiles
from semicml_tf.files.layouts.catalogue import LAYOUTS
from semicml_tf.files.source import NiftiFile

ROOT = pathlib.Path("/hospital/study 7/images")


def _case(pseudonym, ct, pet, label=None, root=ROOT, **more):
    images = {"ct": NiftiFile(root / ct), "pet": NiftiFile(root / pet)}
    return CaseFiles(pseudonym, images, label and NiftiFile(root / label), patient_id=pseudonym.split("-")[0], **more)


CASES = [
    _case(
        "PAAAAAAAA", "imagesTr/Meier_Hans__CT.nii.gz", "imagesTr/Meier_Hans__PT.nii.gz", "labelsTr/Meier_Hans.nii.gz"
    ),
    _case("PBBBBBBBB", "imagesTr/Meier_Hans_2__CT.nii.gz", "imagesTr/Meier_Hans_2__PT.nii.gz"),
    _case("PCCCCCCCC-1", "Öztürk, Eve/first/CT", "Öztürk, Eve/first/PT"),
    _case("PCCCCCCCC-2", "Öztürk, Eve/second/CT", "Öztürk, Eve/second/PT"),
    _case("PDDDDDDDD", "imagesTr/1__CT.nii.gz", "imagesTr/1__PT.nii.gz"),
    _case("PEEEEEEEE", "imagesTr/4711234__CT.nii.gz", "imagesTr/4711234__PT.nii.gz"),
]
NAMES = {
    "Meier_Hans": "PAAAAAAAA",
    "Meier_Hans_2": "PBBBBBBBB",
    "Öztürk, Eve": "PCCCCCCCC",
    "first of Öztürk": "PCCCCCCCC-1",
    "1": "PDDDDDDDD",
    "4711234": "PEEEEEEEE",
}
SECRETS = ("Meier", "Hans", "ztürk", "Eve", "4711234", "hospital", "study 7")


@pytest.fixture
def redactor():
    return Redactor(ROOT, CASES, NAMES)


def _holds_nothing(text):
    for form in ("NFC", "NFD"):
        assert not [name for name in SECRETS if unicodedata.normalize(form, name) in text], text
    return text


@pytest.mark.parametrize(
    "text,expected",
    [
        # Paths of sources, and what surrounds them.
        (f"{ROOT}/imagesTr/Meier_Hans__CT.nii.gz: not 3-D", "PAAAAAAAA/ct: not 3-D"),
        (f"see '{ROOT}/labelsTr/Meier_Hans.nii.gz'.", "see 'PAAAAAAAA/label'."),
        (f"{ROOT}/imagesTr/Meier_Hans_2__PT.nii.gz", "PBBBBBBBB/pet"),
        (f"a folder {ROOT}/Öztürk, Eve/first/CT, two series", "a folder PCCCCCCCC-1/ct, two series"),
        (f"{ROOT}/Öztürk, Eve/first/CT/Eve_0001.dcm: truncated", "PCCCCCCCC-1/ct: truncated"),
        (f"below {ROOT}/Öztürk, Eve.", "below PCCCCCCCC."),
        (f"{ROOT}/imagesTr/1__CT.nii.gz and 1 more of 4", "PDDDDDDDD/ct and 1 more of 4"),
        # The root, and files of no patient or of an unknown one. The clause behind such a file goes, too.
        (f"{ROOT}: none of the layouts", "INPUT: none of the layouts"),
        (f"--input={ROOT} --workers=2", "--input=INPUT --workers=2"),
        (f"{ROOT}/imagesTr is empty", "INPUT/…"),
        (f"{ROOT}/imagesTr/Unknown Person__CT.nii.gz: zero bytes", "INPUT/…: zero bytes"),
        (f"file://{ROOT}/Unknown, Anna.dcm. Remove the file.", "file://INPUT/…. Remove the file."),
        (f"{ROOT}-2/imagesTr is another folder", f"{ROOT}-2/imagesTr is another folder"),
        # Names.
        ("case Meier_Hans_2 exists twice", "case PBBBBBBBB exists twice"),
        ("Meier_Hans__PT.nii.gz is not beside it", "PAAAAAAAA/pet is not beside it"),
        ("Meier_Hans__PT is not Meier_Hans__other", "PAAAAAAAA/pet is not PAAAAAAAA__other"),
        ("not in the split: Öztürk, Eve, Meier_Hans", "not in the split: PCCCCCCCC, PAAAAAAAA"),
        ("Meier_Hansen and XMeier_Hans are others", "Meier_Hansen and XMeier_Hans are others"),
        ("patient 4711234's label; 94711234 voxels", "patient PEEEEEEEE's label; 94711234 voxels"),
        # A short name counts as a name only behind a word such as "case", or in quotes.
        ("case 1 has shape (1, 512), slice 1 of 4, 1.0 mm", "case PDDDDDDDD has shape (1, 512), slice 1 of 4, 1.0 mm"),
        ("expected '1', got 1", "expected 'PDDDDDDDD', got 1"),
        ("in case 1.5 mm are meant", "in case 1.5 mm are meant"),
        ("nothing to hide", "nothing to hide"),
        ("", ""),
    ],
)  # fmt: skip
def test_text_loses_names_and_paths_and_keeps_the_rest(redactor, text, expected):
    assert redactor.text(text) == expected


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path,
        lambda path: unicodedata.normalize("NFD", path),
        lambda path: repr(path),
        lambda path: shlex.join(["convert", f"--input={path}"]),
        lambda path: shlex.quote(path),
        lambda path: f'"{path}"',
        lambda path: f"<{path}>",
        lambda path: str([pathlib.PurePosixPath(path)]),
    ],
)
def test_text_finds_a_path_in_every_spelling(redactor, write):
    for case in CASES:
        for source in (*case.images.values(), *([case.label] if case.label else [])):
            text = _holds_nothing(redactor.text(f"cannot read {write(str(source.path))}, see above"))
            assert case.case_id in text and text.startswith("cannot read ") and text.endswith(", see above")


def test_names_may_hold_apostrophes_and_symbols_of_regular_expressions():
    names = {"O'Brien (x+)": "PAAAAAAAA", "[a-z]*": "PBBBBBBBB"}
    redactor = Redactor(ROOT, [_case("PAAAAAAAA", "O'Brien (x+)/a.nii", "O'Brien (x+)/b.nii")], names)
    path = f"{ROOT}/O'Brien (x+)/a.nii"
    for text in (path, repr(path), shlex.quote(path), "O'Brien (x+)", repr("O'Brien (x+)")):
        assert "Brien" not in redactor.text(f"of {text} there")
    assert redactor.text("abc [a-z]* [a-z]") == "abc PBBBBBBBB [a-z]"


def test_a_pseudonym_that_is_also_a_name_is_not_replaced_again():
    redactor = Redactor(ROOT, [], {"PAAAAAAAA": "PBBBBBBBB", "Anna": "PAAAAAAAA"})
    assert redactor.text("Anna") == "PAAAAAAAA"


def test_a_relative_root_is_hidden_as_a_folder_and_not_as_a_word():
    root = pathlib.Path("data")
    redactor = Redactor(root, [_case("PAAAAAAAA", "Anna/ct.nii", "Anna/pet.nii", root=root)], {"Anna": "PAAAAAAAA"})
    assert redactor.text("the data in data/Anna/ct.nii are no data") == "the data in PAAAAAAAA/ct are no data"
    assert redactor.text("--input=data --output=data2") == "--input=INPUT --output=data2"
    assert redactor.text("/other/data/x and data/x/y.nii") == "/other/data/x and INPUT/…"
    assert redactor.text(f"{root.absolute()}/Anna/pet.nii") == "PAAAAAAAA/pet"
    assert redactor.path("data") == "INPUT" and redactor.path("data/Anna/pet.nii") == "PAAAAAAAA/pet"


def test_a_manifest_may_name_files_outside_its_folder(tmp_path):
    manifest, archive = tmp_path / "Station 3.csv", tmp_path / "archive" / "Anna Huber"
    manifest.touch()
    images = {"ct": NiftiFile(archive / "scan one.nii"), "pet": NiftiFile(tmp_path / "Huber_pet.nii")}
    redactor = Redactor(manifest, [CaseFiles("PAAAAAAAA", images)], {"A7": "PAAAAAAAA"})
    assert redactor.text(f"{manifest}: row 3: case A7 exists twice") == "INPUT: row 3: case PAAAAAAAA exists twice"
    assert redactor.path(str(archive / "scan one.nii")) == "PAAAAAAAA/ct"
    assert redactor.text(f"{tmp_path / 'Huber_pet.nii'}: damaged") == "PAAAAAAAA/pet: damaged"
    assert redactor.text(f"{archive} holds more") == "PAAAAAAAA holds more"
    assert "Huber" not in redactor.text("Huber_pet.nii and Anna Huber")


def test_a_root_may_be_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    os.symlink(tmp_path / "real", tmp_path / "link")
    redactor = Redactor(tmp_path / "link", [_case("PAAAAAAAA", "Anna/ct.nii", "Anna/pet.nii", root=tmp_path / "link")])
    assert redactor.text(f"{tmp_path}/real/Anna/ct.nii, {tmp_path}/link/Anna/pet.nii") == "PAAAAAAAA/ct, PAAAAAAAA/pet"


def test_an_unknown_path_with_spaces_is_hidden_whole(tmp_path):
    (tmp_path / "Huber Anna Maria").mkdir()
    (tmp_path / "Huber Anna Maria" / "notes of the visit").touch()
    redactor = Redactor(tmp_path)
    for path in ("Huber Anna Maria", "Huber Anna Maria/notes of the visit", "Gone Person/x y.nii.gz"):
        assert redactor.text(f"in {tmp_path / path}: 3 is too few") == "in INPUT/…: 3 is too few"
        assert redactor.text(f"in '{tmp_path / path}', too") == "in 'INPUT/…', too"
        shown = redactor.path(str(tmp_path / path))
        assert shown.startswith("INPUT/…") and not any(word in shown for word in ("Anna", "visit", "Person", "y.nii"))


def test_names_are_hidden_before_the_cases_are_known(tmp_path):
    for name in ("imagesTr/Huber_Anna__CT.nii.gz", "Meier/Meier_t2.nii", "labelsTr/Doe_J_0000.nii.gz"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    redactor = Redactor(tmp_path / "in")
    for text in ("case Huber_Anna lacks pet", "Huber_Anna__PT.nii.gz", "Meier_t1.nii", "case Doe_J of imagesTr"):
        shown = redactor.text(text)
        assert _HIDDEN in shown and not any(name in shown for name in ("Huber", "Anna", "Meier", "Doe_J")), shown
    assert redactor.text("the folder imagesTr, case by case") == "the folder imagesTr, case by case"
    manifest = tmp_path / "list.csv"
    manifest.write_text('case,ct,pet,partition\n"Huber, Anna",a/Anna_ct.nii,b.nii,test\n')
    shown = Redactor(manifest).text("row 2: case Anna exists twice; Anna_ct.nii; partition test")
    assert shown == "row 2: case … exists twice; …; partition test"


def test_a_misnamed_file_belongs_to_its_case():
    path = ROOT / "imagesTr" / "W39_Anna_segm.nii"
    redactor = Redactor(ROOT, [_case("PAAAAAAAA", "a.nii", "b.nii", near_matches={"label": path})])
    assert redactor.text(f"{path} may be meant") == "PAAAAAAAA/label (misnamed) may be meant"
    assert "Anna" not in redactor.text("If W39_Anna_segm.nii beside it is meant")


def test_errors_and_findings_are_redacted_field_by_field(redactor):
    error = UserError(
        "case Meier_Hans lacks 'pet'",
        path=ROOT / "imagesTr" / "Meier_Hans__PT.nii.gz",
        remedy=f"Add Meier_Hans__PT.nii.gz to {ROOT}/imagesTr",
    )
    assert redactor.error(error).line == "PAAAAAAAA/pet: case PAAAAAAAA lacks 'pet'. Add PAAAAAAAA/pet to INPUT/…."
    assert redactor.error(UserError("4 GPUs")).line == "4 GPUs."
    finding = Finding(
        "unreadable_image", "error", "1", str(ROOT / "imagesTr" / "1__CT.nii.gz"), "case 1: 1 slice", "Remove 4711234"
    )
    assert redactor.finding(finding) == Finding(
        "unreadable_image", "error", "PDDDDDDDD", "PDDDDDDDD/ct", "case PDDDDDDDD: 1 slice", "Remove PEEEEEEEE"
    )
    assert redactor.finding(Finding("unreadable_image", "error", "", "", "p", "r")) == Finding(
        "unreadable_image", "error", "", "", "p", "r"
    )


def test_fixed_names_are_those_that_the_layouts_declare(redactor, monkeypatch):
    path = f"{ROOT}/volumesTr/Unknown Person.nii.gz"
    assert redactor.path(path) == "INPUT/…/….nii.gz"
    monkeypatch.setitem(LAYOUTS, "new", types.SimpleNamespace(FIXED_NAMES=("volumesTr",)))
    assert Redactor(ROOT, CASES, NAMES).path(path) == "INPUT/volumesTr/….nii.gz"
