"""What may be printed of names and paths, with and without pseudonyms."""

import pathlib

import pytest

from semicml_tf.conversion.privacy.names import Hidden, Open
from semicml_tf.errors import UserError
from tests.support.patients import case

ROOT = pathlib.Path("/hospital/study 7/images")


def test_open_prints_names_and_paths_that_a_terminal_can_show():
    assert Open().text("Anna\x1b[2J\nsecond line") == "Anna\\x1b[2J\nsecond line"
    assert Open().path(f"{ROOT}/Anna") == f"{ROOT}/Anna"


def test_hidden_shows_pseudonyms_once_the_cases_are_renamed(tmp_path):
    hidden = Hidden(ROOT, tmp_path / "map.json", dataset=tmp_path / "out")
    (renamed,) = hidden.rename([case("Meier_Hans", root=ROOT)])
    assert hidden.original(renamed.case_id) == "Meier_Hans"
    assert hidden.text("case Meier_Hans is excluded") == f"case {renamed.case_id} is excluded"
    assert hidden.path(f"{ROOT}/Meier_Hans_ct.nii.gz") == f"{renamed.case_id}/ct"
    assert hidden.path(f"{ROOT}/split.json") == "INPUT/split.json"


def test_an_error_that_is_raised_loses_its_cause(tmp_path):
    hidden = Hidden(ROOT, tmp_path / "map.json", dataset=tmp_path / "out")
    with pytest.raises(UserError) as caught, hidden.errors():
        try:
            open(ROOT / "imagesTr" / "Meier_Hans__CT.nii.gz")
        except OSError as error:
            raise UserError(f"cannot be read ({error})", path=ROOT) from error
    assert "Meier" not in caught.value.line and "hospital" not in caught.value.line
    assert caught.value.__suppress_context__ and caught.value.__cause__ is None
