"""What every layout of the catalogue keeps to."""

import pytest

from semicml_tf.errors import UserError
from semicml_tf.files.layouts.catalogue import LAYOUTS, detected
from semicml_tf.files.layouts.names import AUTO, PLACES

each_layout = pytest.mark.parametrize("name", LAYOUTS)


@each_layout
def test_a_layout_has_its_name_and_a_description_of_one_line(name):
    layout = LAYOUTS[name]
    assert layout.NAME == name != AUTO and name in PLACES
    assert layout.DESCRIPTION.isprintable() and len(layout.DESCRIPTION) > 10
    assert all(callable(getattr(layout, part)) for part in ("detect", "modalities", "describe", "find"))


@each_layout
def test_a_layout_is_not_recognised_where_it_is_not(name, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "ct.txt").write_text("no image", encoding="utf-8")
    (tmp_path / "manifest.txt").write_text("case,ct,pet", encoding="utf-8")
    for folder in (tmp_path, tmp_path / "notes", tmp_path / "nowhere"):
        assert not LAYOUTS[name].detect(folder)


@each_layout
def test_a_folder_without_cases_gives_none_or_one_line(name, tmp_path):
    try:
        assert LAYOUTS[name].find(tmp_path, ["ct", "pet"]) == []
    except UserError as error:
        assert "\n" not in error.line and str(tmp_path) in error.line


def test_an_empty_folder_has_no_layout(tmp_path):
    assert detected(tmp_path) == []
