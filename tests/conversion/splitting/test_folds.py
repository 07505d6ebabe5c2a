"""Folds: everybody is validated on once, the test patients stay, another fold can be taken later."""

import json

import pytest

from semicml_tf.conversion.splitting import folds, sampling, split
from semicml_tf.errors import UserError
from tests.conversion.splitting.test_sampling import _sizes, _worst_gap
from tests.support.patients import case, numbered, touch

FRACTIONS = {"labelled": 0.2, "validation": 0.1, "test": 0.2}


def _all_folds(found, number, fractions=FRACTIONS, **more):
    return [sampling.draw(found, 3, fractions, folds=number, fold=fold, **more) for fold in range(number)]


@pytest.mark.parametrize("labelled", [0.2, 1.0, None])
def test_every_patient_with_a_label_is_in_validation_once(tmp_path, labelled):
    found = numbered(tmp_path, 40, without_label=9)
    drawn = _all_folds(found, 4, {**FRACTIONS, "labelled": labelled})
    tested = set(drawn[0]["test"])
    able = {one.case_id for one in found[9:]}
    assert len(tested) == 6 and all(set(one["test"]) == tested for one in drawn)
    validated = [name for one in drawn for name in one["validation"]]
    assert len(validated) == len(set(validated)) == 25 and set(validated) == able - tested
    assert sorted(len(one["validation"]) for one in drawn) == [6, 6, 6, 7]
    for number, one in enumerate(drawn):
        assert one.folds == drawn[0].folds and one.fold == number
        assert set(one["validation"]) == set(one.folds[number])
        assert sorted(sum(one.values(), ())) == [each.case_id for each in found]
        assert len(one["labelled"]) == (6 if labelled == 0.2 else 25 - len(one["validation"]))
        assert {f"C{number:03d}" for number in range(9)} <= set(one["unlabelled"])


def test_the_test_patients_are_those_of_a_draw_without_folds(tmp_path):
    found = numbered(tmp_path, 40)
    assert _all_folds(found, 5)[2]["test"] == sampling.draw(found, 3, FRACTIONS)["test"]


def test_another_fold_taken_later_is_the_one_that_would_have_been_drawn(tmp_path):
    found = numbered(tmp_path, 41, without_label=3)
    for more in ({}, {"labelled_cases": 5}):
        for fractions in (FRACTIONS, {**FRACTIONS, "labelled": 1.0}):
            drawn = _all_folds(found, 4, fractions, **more)
            path = tmp_path / "split.json"
            path.write_text(json.dumps(drawn[1].to_json()))
            for number, expected in enumerate(drawn):
                assert folds.with_fold(split.read(path), number, sampling.rank(3)) == expected


def test_folds_share_the_patients_who_lack_a_modality(tmp_path):
    found = numbered(tmp_path, 40)
    for one in found[:20]:
        one.images["pet"].path.unlink()
    drawn = _all_folds(found, 4, {"test": 0.2}, modalities=("ct", "pet"))
    for number, one in enumerate(drawn):
        assert one == folds.with_fold(drawn[0], number, sampling.rank(3))
        assert len(one["validation"]) == 8 and sorted(sum(one.values(), ())) == [each.case_id for each in found]
    incomplete = [sum(name < "C020" for name in one["validation"]) for one in drawn]
    assert max(incomplete) - min(incomplete) <= 1
    # Labelled patients of a number are chosen for each fold, which does not know who lacks a modality.
    some = _all_folds(found, 4, {"test": 0.2}, labelled_cases=4, modalities=("ct", "pet"))
    assert all(name >= "C020" for one in some for name in (*one["labelled"], *one["validation"]))


def test_another_fold_of_stratified_folds_keeps_them(tmp_path):
    found = numbered(tmp_path, 50)
    pools = [
        sampling.draw_pool(found, 3, {**FRACTIONS, "labelled": 1.0}, folds=5, fold=fold, stratify="lesion_size")
        for fold in (0, 3)
    ]
    first, other = (sampling.assign(pool, _sizes(sorted(pool.candidates))) for pool in pools)
    assert folds.with_fold(first, 3, sampling.rank(3)) == other and other.stratify == "lesion_size"


def test_stratified_folds_hold_lesions_of_all_sizes(tmp_path):
    found = numbered(tmp_path, 60)
    pool = sampling.draw_pool(found, 1, {"labelled": 1.0, "test": 0.2}, folds=4, stratify="lesion_size")
    ml = _sizes(pool.candidates)
    drawn = sampling.assign(pool, ml)
    assert [len(held) for held in drawn.folds] == [12] * 4 and not drawn["unlabelled"]
    for held in (*drawn.folds, drawn["test"]):
        assert _worst_gap([ml[name] for name in held], [*ml.values()]) <= 1 / 12 + 1e-9


def test_stratified_folds_may_not_open_the_labels_of_unlabelled_patients(tmp_path):
    with pytest.raises(
        UserError, match="also at those of patients who are unlabelled in a fold.*--labelled_fraction=1"
    ):
        sampling.draw_pool(numbered(tmp_path, 40), 1, FRACTIONS, folds=4, stratify="lesion_size")


def test_studies_of_a_patient_share_their_fold(tmp_path):
    found = touch([case(f"P{n:02d}-{study}", f"P{n:02d}", root=tmp_path) for n in range(20) for study in (1, 2)])
    for drawn in _all_folds(found, 4):
        chosen, _ = split.cases_by_partition(drawn, found, source="here")
        assert len(chosen["validation"]) == 8 and len(chosen["labelled"]) == 8


def test_excluded_patients_stay_out_of_every_fold(tmp_path):
    found = numbered(tmp_path, 30)
    drawn = split.without(_all_folds(found, 3)[0], {"C004", "C011"}, found)
    for number in range(3):
        other = folds.with_fold(drawn, number, sampling.rank(3))
        assert other["excluded"] == ("C004", "C011")
        assert len({*sum((other[name] for name in other if name != "excluded"), ())}) == 28


@pytest.mark.parametrize(
    "more,message",
    [
        ({"folds": 1}, "expected --folds from 2 to 8, .* got 1"),
        ({"folds": 9}, "expected --folds from 2 to 8, .* got 9"),
        ({"folds": 4, "fold": 4}, "expected --fold from 0 to 3, got 4"),
        ({"folds": 4, "fold": -1}, "expected --fold from 0 to 3, got -1"),
        ({"folds": 4, "labelled_cases": 7}, "expected at most 6 labelled patients beside a fold of 2, got 7"),
    ],
)
def test_folds_that_do_not_fit(tmp_path, more, message):
    with pytest.raises(UserError, match=message):
        sampling.draw(numbered(tmp_path, 10), 0, FRACTIONS, **more)


def test_a_split_without_folds_has_no_other_fold(tmp_path):
    plain = sampling.draw(numbered(tmp_path, 10), 0, FRACTIONS)
    with pytest.raises(UserError, match="--fold needs a split with folds"):
        folds.with_fold(plain, 0, sampling.rank(0))
    folded = sampling.draw(numbered(tmp_path, 10), 0, FRACTIONS, folds=2)
    with pytest.raises(UserError, match="expected --fold from 0 to 1, got 2"):
        folds.with_fold(folded, 2, sampling.rank(0))
