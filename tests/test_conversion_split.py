"""Who is in which partition."""

import json

import pytest

from semicml_tf.conversion import split
from semicml_tf.errors import UserError
from semicml_tf.files.case import CaseFiles

FRACTIONS = {"labelled": 0.1, "validation": 0.1, "test": 0.2}


def cases(tmp_path, count, without_label=0):
    label = tmp_path / "label.nii.gz"
    label.touch()
    return [CaseFiles(f"C{i:03d}", {}, label if i >= without_label else tmp_path / "none") for i in range(count)]


@pytest.mark.parametrize(
    "content,message",
    [
        ({"labelled": ["A"], "test": ["B", "A"]}, "case A is in two partitions, 'labelled' and 'test'"),
        ({"labelled": ["A"], "excluded": ["A"]}, "case A is in two partitions"),
        ({"labelled": ["A", "B", "A"]}, "case A is twice in 'labelled'"),
        ({"train": ["A"]}, "unknown partition 'train'.*labelled, unlabelled, validation, test, excluded"),
        ({"labelled": "A"}, "no list of case names"),
        ({"labelled": [1]}, "no list of case names"),
        ({"excluded": ["A"]}, "no case is in any partition"),
        ({}, "no case is in any partition"),
        (["A"], "expected a split"),
    ],
)
def test_bad_splits(tmp_path, content, message):
    path = tmp_path / "split.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=message) as caught:
        split.read(path)
    assert str(path) in caught.value.line and caught.value.remedy


def test_a_split_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="none.json: expected a split.*--split_seed"):
        split.read(tmp_path / "none.json")


def test_cases_of_the_split_need_files_and_the_others_are_named(tmp_path):
    found = cases(tmp_path, 4)
    given = split.checked({"labelled": ["C002", "C000"], "excluded": ["C003", "gone"]})
    chosen, left_out = split.cases_by_partition(given, found, source="here")
    assert [case.case_id for case in chosen["labelled"]] == ["C000", "C002"] and left_out == ["C001"]
    with pytest.raises(UserError, match="here: the split puts case gone into 'test', but it has no files"):
        split.cases_by_partition(split.checked({"test": ["gone"]}), found, source="here")


def test_a_drawn_split_is_exact_and_complete(tmp_path):
    found = cases(tmp_path, 35)
    drawn = split.draw(found, 7, FRACTIONS)
    # 3.5 is rounded up.
    assert {name: len(names) for name, names in drawn.items()} == {
        "labelled": 4, "unlabelled": 20, "validation": 4, "test": 7, "excluded": 0,
    }  # fmt: skip
    assert sorted(sum(drawn.values(), ())) == [case.case_id for case in found]


def test_a_drawn_split_depends_on_the_seed_alone(tmp_path):
    found = cases(tmp_path, 40)
    assert split.draw(found, 1, FRACTIONS) == split.draw(found[::-1], 1, FRACTIONS)
    assert split.draw(found, 1, FRACTIONS) != split.draw(found, 2, FRACTIONS)
    more = split.draw(found, 1, {**FRACTIONS, "labelled": 0.5})
    assert more["test"] == split.draw(found, 1, FRACTIONS)["test"]
    assert set(more["labelled"]) > set(split.draw(found, 1, FRACTIONS)["labelled"])


def test_every_fraction_above_0_gets_a_case_and_0_none(tmp_path):
    drawn = split.draw(cases(tmp_path, 4), 0, {"labelled": 0.01, "validation": 0.01, "test": 0})
    assert (len(drawn["labelled"]), len(drawn["validation"]), len(drawn["test"])) == (1, 1, 0)


def test_cases_without_a_label_can_only_be_unlabelled(tmp_path):
    for seed in range(20):
        assert {"C000", "C001"} <= set(split.draw(cases(tmp_path, 5, 2), seed, FRACTIONS)["unlabelled"])
    with pytest.raises(UserError, match="expected 4 cases with a label to draw from, got 2 of 10"):
        split.draw(cases(tmp_path, 10, 8), 0, FRACTIONS)


@pytest.mark.parametrize("bad", [{"labelled": 0.8, "test": 0.5}, {"labelled": -0.1}, {"labelled": float("nan")}])
def test_fractions_that_do_not_fit(tmp_path, bad):
    with pytest.raises(UserError, match="fractions"):
        split.draw(cases(tmp_path, 10), 0, bad)
