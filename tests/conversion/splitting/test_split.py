"""A split: its file, its hash, whom it means."""

import json

import pytest

from semicml_tf.conversion.splitting import split
from semicml_tf.errors import UserError
from tests.support.patients import case, numbered


@pytest.mark.parametrize(
    "content,message",
    [
        ({"labelled": ["A"], "test": ["B", "A"]}, "case A is in two partitions, 'labelled' and 'test'"),
        ({"labelled": ["A"], "excluded": ["A"]}, "case A is in two partitions"),
        ({"labelled": ["A", "B", "A"]}, "case A is twice in 'labelled'"),
        ({"train": ["A"]}, "unknown partition 'train'.*labelled, unlabelled, validation, test, excluded"),
        ({"labelled": "A"}, 'labelled: expected a list, got "A"'),
        ({"labelled": [1]}, r"labelled\[0\]: expected a valid string, got 1"),
        ({"excluded": ["A"]}, "no case is in any partition"),
        ({}, "no case is in any partition"),
        (["A"], "expected a split"),
        ({"test": ["A"], "seed": "7"}, 'seed: expected a valid integer, got "7"'),
        ({"test": ["A"], "seed": True}, "seed: expected a valid integer, got true"),
        ({"test": ["A"], "stratify": "age"}, "stratify: expected '' or 'lesion_size', got \"age\""),
        ({"test": ["A"], "folds": [["B"], ["C"]], "fold": 2}, "expected lists of names as 'folds'"),
        ({"test": ["A"], "folds": [["B"], ["C"]]}, "expected lists of names as 'folds'"),
        ({"test": ["A"], "folds": {"0": ["B"]}, "fold": 0}, "folds: expected a list"),
        ({"test": ["A"], "folds": [["B"], [3]], "fold": 0}, r"folds\[1\]\[0\]: expected a valid string, got 3"),
        ({"test": ["A"], "folds": [["B"], ["B"]], "fold": 0}, "a patient is in two folds"),
        ({"test": ["A"], "folds": [["B"], ["A"]], "fold": 0}, "in a fold and in 'test'"),
        ({"test": ["A"], "folds": [["B"], ["C"]], "fold": 0, "labelled_in_a_fold": -1}, "labelled_in_.* got -1"),
        ({"test": ["A"], "hash": "0" * 64}, "hash does not match its contents: it was edited.*delete its line 'hash'"),
    ],
)
def test_bad_splits(tmp_path, content, message):
    path = tmp_path / "split.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=message) as caught:
        split.read(path)
    assert str(path) in caught.value.line and caught.value.remedy


def test_a_missing_split_is_refused(tmp_path):
    with pytest.raises(UserError, match="none.json: expected a split.*--split_seed"):
        split.read(tmp_path / "none.json")


def test_a_plain_split_is_read_as_ever(tmp_path):
    path = tmp_path / "split.json"
    path.write_text(json.dumps({"test": ["B", "A"], "labelled": ["C"]}))
    read = split.read(path)
    assert dict(read) == {
        "labelled": ("C",), "unlabelled": (), "validation": (), "test": ("A", "B"), "excluded": ()
    }  # fmt: skip
    assert (read.folds, read.fold, read.seed, read.stratify) == ((), None, None, "")


FOLDED = {
    "labelled": ["B"], "validation": ["C"], "unlabelled": ["D"], "test": ["A"], "folds": [["C"], ["D", "B"]],
    "fold": 0, "labelled_in_a_fold": 1, "seed": 3, "stratify": "lesion_size",
}  # fmt: skip


def _frozen(tmp_path):
    path = tmp_path / "split.json"
    path.write_text(json.dumps(split.checked(FOLDED).to_json(), indent=1))
    return path


def test_a_frozen_split_comes_back_and_is_hashed_by_its_contents(tmp_path):
    made, path = split.checked(FOLDED), _frozen(tmp_path)
    assert split.read(path) == made and made.folds == (("C",), ("B", "D"))
    body = json.loads(path.read_text())
    # Another layout of the file, another order of its keys: the same contents.
    path.write_text(json.dumps(dict(reversed(body.items()))))
    assert split.read(path) == made
    assert set(split.checked({"test": ["A"]}).to_json()) == {"hash", *split.NAMES}


@pytest.mark.parametrize("old,new", [('"B"', '"X"'), ('"seed": 3', '"seed": 4'), ('"fold": 0', '"fold": 1')])
def test_an_edit_is_noticed_and_accepted_once_the_hash_is_deleted(tmp_path, old, new):
    path = _frozen(tmp_path)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError, match="it was edited"):
        split.read(path)
    lines = [line for line in path.read_text().splitlines() if '"hash"' not in line]
    path.write_text("\n".join(lines))  # deleting that one line leaves valid JSON
    assert split.read(path).names


def test_cases_of_the_split_need_files_and_the_others_are_named(tmp_path):
    found = numbered(tmp_path, 4)
    given = split.checked({"labelled": ["C002", "C000"], "excluded": ["C003", "gone"]})
    chosen, left_out = split.cases_by_partition(given, found, source="here")
    assert [one.case_id for one in chosen["labelled"]] == ["C000", "C002"] and left_out == ["C001"]
    with pytest.raises(UserError, match="here: the split puts case gone into 'test', but it has no files"):
        split.cases_by_partition(split.checked({"test": ["gone"]}), found, source="here")


STUDIES = [case("P1-a", "P1"), case("P1-b", "P1"), case("P2-a", "P2"), case("P2-b", "P2"), case("P3")]


def _names(given, cases=STUDIES):
    chosen, left_out = split.cases_by_partition(split.checked(given), cases, source="here")
    return {name: [one.case_id for one in held] for name, held in chosen.items() if held}, left_out


def test_a_patients_name_stands_for_all_studies():
    assert _names({"labelled": ["P1"], "test": ["P3", "P2-a"]}) == (
        {"labelled": ["P1-a", "P1-b"], "test": ["P2-a", "P3"]},
        ["P2-b"],
    )


@pytest.mark.parametrize(
    "given,message",
    [
        (
            {"labelled": ["P1-a"], "test": ["P1-b"]},
            r"patient P1 is in two partitions, 'labelled' \(case P1-a\) and 'test' \(case P1-b\)",
        ),
        ({"unlabelled": ["P1-a"], "validation": ["P1"]}, "patient P1 is in two partitions"),
        ({"unlabelled": ["P1-a", "P1"]}, "case P1-a is twice in 'unlabelled'"),
        ({"labelled": ["P1-a"], "excluded": ["P1"]}, "patient P1 is excluded, but its case P1-a is in 'labelled'"),
    ],
)
def test_studies_of_a_patient_stay_together(given, message):
    with pytest.raises(UserError, match=f"here: .*{message}"):
        split.checked(given, cases=STUDIES, source="here")
    with pytest.raises(UserError, match=message):
        _names(given)


def test_a_manifest_that_tears_a_patient_apart_is_refused():
    torn = [case("P1-a", "P1", partition="labelled"), case("P1-b", "P1", partition="test")]
    with pytest.raises(UserError, match="patient P1 is in two partitions"):
        split.from_layout(torn, source="manifest.csv")
    whole = [case("P1-a", "P1", partition="labelled"), case("P1-b", "P1", partition="labelled"), case("P2")]
    assert split.from_layout(whole, source="manifest.csv")["labelled"] == ("P1-a", "P1-b")


def test_one_study_of_a_patient_may_be_excluded():
    assert _names({"labelled": ["P1"], "excluded": ["P1-b"], "test": ["P3"]}) == (
        {"labelled": ["P1-a"], "test": ["P3"]},
        ["P2-a", "P2-b"],
    )


def test_a_name_of_a_patient_and_of_anothers_case_is_ambiguous():
    both = [case("A"), case("B", "A"), case("C", "B")]
    with pytest.raises(UserError, match="'B' is a patient and also a case of another patient, A"):
        split.cases_by_partition(split.checked({"test": ["B"]}), both, source="here")


def test_bad_cases_go_to_the_excluded():
    given = split.checked({"labelled": ["P1"], "test": ["P2-a", "P3"], "seed": 4})
    left = split.without(given, {"P1-b", "P2-a", "P3", "elsewhere"}, STUDIES)
    assert left["labelled"] == ("P1",) and left["test"] == () and left["excluded"] == ("P1-b", "P2-a", "P3")
    assert left.seed == 4
    chosen, _ = split.cases_by_partition(left, STUDIES, source="here")
    assert [one.case_id for held in chosen.values() for one in held] == ["P1-a"]
    whole = split.without(given, {"P1-a", "P1-b"}, STUDIES)
    assert whole["labelled"] == () and whole["excluded"] == ("P1",)
    # Nobody who is not in the split comes into it.
    assert split.without(given, {"P2-b"}, STUDIES[:2] + STUDIES[3:4]) == given
