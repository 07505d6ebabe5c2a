"""Views of a dataset: the bytes of a conversion with the same split, and no label of an unlabelled patient."""

import dataclasses
import json

import numpy as np
import pytest

from semicml_tf import commandline
from semicml_tf.conversion import view
from semicml_tf.conversion.splitting import split as splits
from semicml_tf.errors import UserError
from semicml_tf.geometry.grid import Grid
from semicml_tf.records import case_cards, case_record, shards
from semicml_tf.records.dataset import DatasetInfo
from tests.support import image_folders
from tests.support.conversions import convert, write_split

CASES = ("P1", "P2", "P3", "P4", "P5")
FIRST = {"labelled": ["P1", "P2"], "validation": ["P3"], "test": ["P4"], "unlabelled": ["P5"]}
OTHER = {"labelled": ["P3"], "validation": ["P1"], "test": ["P2"], "unlabelled": ["P4", "P5"]}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return image_folders.hecktor(tmp_path_factory.mktemp("source"), CASES)


@pytest.fixture(scope="module")
def dataset(source):
    write_split(source, FIRST)
    return DatasetInfo.load(convert(source, source.parent / "dataset"))


def refused(info, split, output, message):
    with pytest.raises(UserError, match=message) as caught:
        view.write(info, splits.checked(split), output)
    assert "\n" not in caught.value.line
    assert not output.exists() and not list(output.parent.glob(f".{output.name}*"))


@pytest.mark.parametrize("flags", [(), ("--labels=a:1,b:2", "--allow_empty_labels")], ids=["plain", "classes"])
def test_a_view_equals_a_conversion_with_its_split(source, tmp_path, flags):
    if flags:
        source = image_folders.hecktor(tmp_path / "source", CASES)
        for number, case in enumerate(CASES):
            label = image_folders.label()
            label[2:6, 3:5, 1:2] = 2 if number else 1
            image_folders.write(source / f"labelsTr/{case}.nii.gz", label)
    write_split(source, FIRST)
    first = convert(source, tmp_path / "first", *flags)
    write_split(source, OTHER)
    expected = convert(source, tmp_path / "expected", *flags, "--cases_per_shard=1")
    words = [f"--dataset={first}", f"--split={source / 'split.json'}", f"--output={tmp_path / 'view'}"]
    commandline.call("semicml_tf.conversion.view", [*words, "--cases_per_shard=1"])
    found = DatasetInfo.load(tmp_path / "view")
    assert found.data_hash == DatasetInfo.load(expected).data_hash
    for name in (*found.shard_sha256, "split.json"):
        assert (tmp_path / "view" / name).read_bytes() == (expected / name).read_bytes(), name
    assert case_cards.load(tmp_path / "view") == case_cards.load(expected)
    assert {path.name for path in (tmp_path / "view").iterdir()} == {
        *found.shard_sha256, "dataset.json", "split.json", "cards.json"
    }  # fmt: skip


def test_no_label_reaches_an_unlabelled_patient(dataset, tmp_path):
    made = view.write(dataset, splits.checked(OTHER), tmp_path / "view")
    for record in shards.read_cases(made, made.cases("unlabelled")):
        assert record.label is None and record.native_label is None
    for case in made.cases("unlabelled"):
        content = shards.read_content(made, case)
        assert b"label" not in content and case.lesion_slices is None
    cards = {card["case_id"]: card for card in case_cards.load(tmp_path / "view")}
    assert not any(case_cards.is_of_a_lesion(name) for case in ("P4", "P5") for name in cards[case])
    assert any(case_cards.is_of_a_lesion(name) for name in cards["P3"])
    again = view.write(made, splits.checked(OTHER), tmp_path / "again")
    assert again.data_hash == made.data_hash
    refused(made, FIRST, tmp_path / "back", "case P4 into 'test', but this dataset has no label")


def test_a_view_that_would_leak_is_not_written(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(view, "_without_label", lambda record, spacing_mm: record)
    refused(dataset, OTHER, tmp_path / "view", "has a label, although it is in the partition 'unlabelled'")


def test_the_grid_of_a_label_that_shows_where_the_lesion_is_leaves_with_it(dataset):
    (record,) = shards.read_cases(dataset, dataset.cases("test"))
    whole = view._without_label(record, dataset.spacing_mm)
    assert whole.native_grid is record.native_grid
    small = Grid((2, 2, 2), record.native_grid.affine)
    own = dataclasses.replace(record, native_grid=small, native_label=np.ones((2, 2, 2), np.uint8))
    cut = view._without_label(own, dataset.spacing_mm)
    assert cut.native_grid.shape == record.full_grid.shape
    assert case_record.decode(case_record.encode(cut)).native_label is None


@pytest.mark.parametrize(
    "split,message",
    [
        ({**OTHER, "test": ["P9"]}, "case P9 into 'test', but it has no files here"),
        ({**OTHER, "test": ["P5"], "unlabelled": ["P4"]}, "case P5 into 'test', but this dataset has no label"),
    ],
)
def test_splits_that_do_not_fit_are_refused(dataset, tmp_path, split, message):
    refused(dataset, split, tmp_path / "view", message)


def test_a_damaged_dataset_is_refused(source, dataset, tmp_path):
    broken = view.write(dataset, splits.checked(OTHER), tmp_path / "broken")
    path = broken.root / next(iter(broken.shard_sha256))
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)
    refused(broken, OTHER, tmp_path / "view", "truncated or corrupt")


def test_studies_of_a_patient_stay_together(dataset, tmp_path):
    """dataset.json names the patients; the split may name patients or cases."""
    info = dataclasses.replace(dataset, patients={"P1": "A", "P2": "A"})
    made = view.write(info, splits.checked({"labelled": ["A"], "validation": ["P3"]}), tmp_path / "view")
    assert [case.case_id for case in made.cases("labelled")] == ["P1", "P2"]
    assert DatasetInfo.load(tmp_path / "view").patients == info.patients
    refused(info, {"labelled": ["P1"], "test": ["P2"]}, tmp_path / "two", "patient A is in two partitions")


def test_patients_whom_an_earlier_version_did_not_name_are_refused(dataset, tmp_path):
    made = view.write(dataset, splits.checked(OTHER), tmp_path / "view")
    body = splits.checked({**OTHER, "test": ["A"]}).to_json()
    (made.root / "split.json").write_text(json.dumps(body))
    refused(made, OTHER, tmp_path / "again", "studies of the patient A, but does not say which")


def test_an_output_in_use_is_refused(dataset, tmp_path):
    (tmp_path / "view").mkdir()
    (tmp_path / "view" / "file").write_text("")
    with pytest.raises(UserError, match="expected no file and no folder with files"):
        view.write(dataset, splits.checked(OTHER), tmp_path / "view")
