"""Folds: each patient is tested once per seed, and never trained on in the same fold."""

import json
import pathlib
import types

import pytest

from semicml_tf.errors import UserError
from semicml_tf.experiments import folds
from semicml_tf.experiments.folds import Folds, People

NAMES = tuple(f"P{number:02}" for number in range(13))
PEOPLE = People(NAMES, ("U1", "U2"))


def all_splits(plan, people=PEOPLE, seed=3, labelled="2"):
    return [plan.split(people, seed, fold, labelled) for fold in range(plan.number)]


@pytest.mark.parametrize("stratified", [False, True])
@pytest.mark.parametrize("number", [3, 5])
@pytest.mark.parametrize("validation", [None, 1])
def test_each_patient_is_tested_once(stratified, number, validation):
    people = People(NAMES, ("U1",), lesion_ml={name: float(place) for place, name in enumerate(NAMES)})
    made = all_splits(Folds(number, stratified, validation), people)
    assert sorted(name for split in made for name in split["test"]) == list(NAMES)
    for split in made:
        parts = [set(split[name]) for name in ("labelled", "unlabelled", "validation", "test")]
        assert set().union(*parts) == {*NAMES, "U1"} and sum(map(len, parts)) == len(NAMES) + 1
        assert len(split["labelled"]) == 2 and "U1" in split["unlabelled"]
    if validation is None:
        assert [split["validation"] for split in made] == [split["test"] for split in (*made[1:], made[0])]
    else:
        assert all(len(split["validation"]) == 1 for split in made)


def test_fewer_labelled_patients_are_among_more():
    plan = Folds(4)
    for fold in range(4):
        few, more, every = (plan.split(PEOPLE, 0, fold, count) for count in ("2", "5", "all"))
        assert set(few["labelled"]) < set(more["labelled"]) < set(every["labelled"])
        assert (few["test"], few["validation"]) == (every["test"], every["validation"])
        assert every["unlabelled"] == ("U1", "U2")


def test_a_seed_deals_other_folds_and_labels_other_patients():
    first, same, other = (all_splits(Folds(4), seed=seed) for seed in (0, 0, 1))
    assert first == same
    assert [split["test"] for split in first] != [split["test"] for split in other]


def test_incomplete_patients_are_labelled_last_and_spread_over_the_folds():
    people = People(NAMES, (), frozenset(NAMES[:3]))
    for split in all_splits(Folds(3), people, labelled="3"):
        assert not set(split["labelled"]) & people.incomplete
        assert len(set(split["test"]) & people.incomplete) == 1


def test_stratified_folds_have_equal_shares_of_large_lesions():
    volumes = {name: 100.0 if place < 4 else 1.0 for place, name in enumerate(NAMES[:12])}
    people = People(NAMES[:12], (), lesion_ml=volumes)
    for seed in range(5):
        for split in all_splits(Folds(4, stratified=True), people, seed):
            assert sum(volumes[name] == 100.0 for name in split["test"]) == 1


@pytest.mark.parametrize(
    "plan,labelled,message",
    [
        (Folds(14), "1", "expected --folds from 2 to 13, the number of patients with a label, got 14"),
        (Folds(2), "1", "expected at least 1 patients beside those for test and validation, got 0 in fold 0"),
        (Folds(3), "6", "expected at least 6 patients beside those for test and validation, got 4 in fold 0"),
        (Folds(3, validation_patients=9), "1", "got 0 in fold"),
    ],
)
def test_folds_that_do_not_fit_are_refused(plan, labelled, message):
    with pytest.raises(UserError, match=message):
        plan.split(PEOPLE, 0, 0, labelled)


def write(path, body):
    path.write_text(body if isinstance(body, str) else json.dumps(body))
    return path


def test_folds_of_a_file_are_the_same_for_each_seed(tmp_path):
    given = folds.read(write(tmp_path / "folds.json", [NAMES[:6], NAMES[6:9], NAMES[9:]]))
    plan = Folds(len(given), given=given)
    for seed in (0, 1):
        assert [split["test"] for split in all_splits(plan, seed=seed)] == [NAMES[:6], NAMES[6:9], NAMES[9:]]
    assert all_splits(plan, seed=0)[0]["labelled"] != all_splits(plan, seed=1)[0]["labelled"]
    assert plan.pool(0, len(NAMES)) == 4


@pytest.mark.parametrize(
    "body,message",
    [
        ([["A", "B"], ["B"]], "patient B is in two folds, 0 and 1"),
        ([["A", "A"], ["B"]], "patient A is twice in fold 0"),
        ([["A"]], "folds of a cross-validation"),
        ([["A"], []], "folds of a cross-validation"),
        ([["A"], [1]], "folds of a cross-validation"),
        ({"folds": [["A"], ["B"]]}, "folds of a cross-validation"),
        ("no JSON", "folds of a cross-validation|JSON"),
    ],
)
def test_a_wrong_file_of_folds_is_refused(tmp_path, body, message):
    with pytest.raises(UserError, match=message) as caught:
        folds.read(write(tmp_path / "folds.json", body))
    assert "\n" not in caught.value.line and "folds.json" in caught.value.line


@pytest.mark.parametrize(
    "given,message",
    [
        ((NAMES[:6], NAMES[6:12]), "patient P12 has a label, but is in no fold"),
        ((NAMES[:6], (*NAMES[6:], "U1")), "patient U1 of the folds has no label in the dataset"),
        ((NAMES[:6], (*NAMES[6:], "X")), "patient X of the folds is not in the dataset"),
    ],
)
def test_folds_of_other_patients_are_refused(given, message):
    with pytest.raises(UserError, match=message):
        Folds(2, validation_patients=1, given=given).deal(PEOPLE, 0)


def test_people_are_patients_and_not_studies(monkeypatch):
    """Two studies of one patient are in the same fold, and the larger lesion counts."""

    def case(name, *modalities):
        return types.SimpleNamespace(case_id=name, modalities=modalities)

    info = types.SimpleNamespace(
        root=pathlib.Path("none"),
        url="",
        modalities=("ct", "pet"),
        patients={"A-1": "A", "A-2": "A"},
        partitions={"labelled": (case("A-1"), case("A-2", "ct")), "test": (case("B"),), "unlabelled": (case("C"),)},
        modalities_of=lambda entry: entry.modalities or ("ct", "pet"),
    )
    cards = [{"case_id": "A-1", "lesion/volume_ml": 1.0}, {"case_id": "A-2", "lesion/volume_ml": 3.0}]
    monkeypatch.setattr(folds.case_cards, "load", lambda root: cards)
    people = People.of(info, with_volumes=True)
    assert people == People(("A", "B"), ("C",), frozenset({"A"}), {"A": 3.0})
