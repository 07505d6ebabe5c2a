"""Who may be published: bars on validation patients, slices by size, the latest blessed network beside."""

import pytest

from pipelines import acceptance
from pipelines.acceptance import Bars
from semicml_tf.errors import UserError

ALL = Bars(min_dice=0.5, max_loss=0.02, size_bounds_ml=(10.0,), min_slice_dice=0.2, max_slice_loss=0.1)


def _body(dice, volumes=None, modality="ct"):
    volumes = volumes or [20.0] * len(dice)
    cases = [
        {"case_id": f"p{number}", "dice": value, "truth_ml": volume}
        for number, (value, volume) in enumerate(zip(dice, volumes))
    ]
    return {
        "rows": [
            {"name": modality, "kind": "network", "modality": modality, "cases": cases},
            {"name": "blind", "kind": "blind", "modality": None, "cases": cases},
        ]
    }


def test_the_absolute_bar():
    verdict = acceptance.judge("ct", _body([0.4, 0.6]), ALL)
    assert verdict["blessed"] and verdict["checks"][0]["value"] == pytest.approx(0.5)
    verdict = acceptance.judge("ct", _body([0.4, 0.58]), ALL)
    assert not verdict["blessed"]
    assert acceptance.reasons(verdict) == "mean DSC is 0.490, below 0.500"


def test_a_fall_by_just_the_margin_is_within_it():
    assert acceptance.judge("ct", _body([0.60]), ALL, baseline=_body([0.62]))["blessed"]
    verdict = acceptance.judge("ct", _body([0.60]), ALL, baseline=_body([0.63]))
    assert acceptance.reasons(verdict) == "mean DSC beside the latest blessed network is 0.600, below 0.610"


def test_only_patients_that_both_have_are_compared():
    # The baseline's third patient lacks the modality now; its good score there says nothing.
    assert acceptance.judge("ct", _body([0.6, 0.6]), ALL, baseline=_body([0.6, 0.6, 1.0]))["blessed"]
    none = _body([])
    assert "no patient in common" in acceptance.reasons(acceptance.judge("ct", _body([0.6]), ALL, baseline=none))


def test_test_patients_decide_nothing():
    good, bad = _body([0.9] * 3), _body([0.0] * 3)
    verdict = acceptance.judge("ct", good, ALL, test=bad)
    assert verdict["blessed"] and verdict["test_dice"] == 0.0 and verdict["chosen_on"] == "validation"
    assert not acceptance.judge("ct", bad, ALL, test=good)["blessed"]
    assert acceptance.judge("ct", good, ALL, test=bad)["checks"] == acceptance.judge("ct", good, ALL)["checks"]


def test_a_network_that_misses_small_lesions_is_not_blessed():
    volumes = [5.0] * 3 + [20.0] * 9
    verdict = acceptance.judge("ct", _body([0.1] * 3 + [0.9] * 9, volumes), ALL)
    assert acceptance.reasons(verdict) == "mean DSC, 0 to 10 ml is 0.100, below 0.200"
    assert verdict["slices"]["from 10 ml"]["candidate"] == {"patients": 9, "dice": pytest.approx(0.9)}
    # Two patients are too few to judge by.
    assert acceptance.judge("ct", _body([0.1] * 2 + [0.9] * 9, volumes[1:]), ALL)["blessed"]
    # Better on the whole, and worse on the small ones than before.
    before, now = [0.6] * 3 + [0.6] * 9, [0.4] * 3 + [0.9] * 9
    verdict = acceptance.judge("ct", _body(now, volumes), ALL, baseline=_body(before, volumes))
    assert "beside the latest blessed network, 0 to 10 ml is 0.400, below 0.500" in acceptance.reasons(verdict)


def test_each_patient_is_in_one_group():
    cases = _body([0.5] * 5, [0.0, 9.9, 10.0, 49.9, 50.0])["rows"][0]["cases"]
    slices = acceptance.size_slices(cases, (10.0, 50.0))
    assert {name: [case["truth_ml"] for case in held] for name, held in slices.items()} == {
        "no lesion": [0.0],
        "0 to 10 ml": [9.9],
        "10 to 50 ml": [10.0, 49.9],
        "from 50 ml": [50.0],
    }


def test_without_a_patient_or_a_comparison_nothing_is_blessed():
    assert not acceptance.judge("ct", _body([]), ALL)["blessed"]
    verdict = acceptance.judge("ct", _body([0.9]), ALL, not_comparable="spacing differs")
    assert acceptance.reasons(verdict) == "comparable with the latest blessed network: spacing differs"


@pytest.mark.parametrize("wrong", [{"min_dice": 1.5}, {"max_loss": -0.1}, {"size_bounds_ml": (5.0, 5.0)}])
def test_invalid_bars_are_refused(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        Bars(**wrong)
