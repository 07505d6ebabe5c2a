"""Validation: patients' Dice, the threshold chosen on them, the alarm for networks that see nothing."""

import numpy as np
import pytest
import tensorflow as tf

from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.records.shards import read_cases
from semicml_tf.training.validation import Validator


class _Constant:
    """A network that answers `value` everywhere."""

    def __init__(self, value):
        self.value = value

    def __call__(self, x, training):
        assert training is False
        return tf.fill(tf.shape(x), self.value)


@pytest.fixture(scope="module")
def info(phantom_dataset):
    return DatasetInfo.load(phantom_dataset)


def _everything_dice(info):
    """Mean Dice of a mask that covers all of each validation patient."""
    scores = []
    for record in read_cases(info, info.cases("validation")):
        truth = record.label.sum()
        scores.append(2 * truth / (truth + record.label.size) if truth else 0.0)
    return np.mean(scores)


def test_the_threshold_is_the_best_on_validation(info):
    """Everything at 0.35: above it the mask is empty, below it full."""
    validated = Validator(info, 32, 0.0)({"ct": _Constant(0.35), "pet": _Constant(0.75)})
    empty = np.mean([not r.label.any() for r in read_cases(info, info.cases("validation"))])
    full = _everything_dice(info)
    for name, level in (("ct", 0.35), ("pet", 0.75)):
        # A full mask beats an empty one wherever there is a lesion; patients without one have no say.
        assert validated.thresholds[name] <= level
        assert validated.dice[name] == pytest.approx(full, abs=1e-6)
    assert empty < 1


def test_a_fixed_threshold_is_kept_and_silence_is_named(info):
    validated = Validator(info, 32, 0.5)({"ct": _Constant(0.35), "pet": _Constant(0.75)})
    assert validated.thresholds == {"ct": 0.5, "pet": 0.5}
    assert validated.silent == ("ct",)
    assert validated.dice["pet"] == pytest.approx(_everything_dice(info), abs=1e-6)
    assert set(validated.per_case["ct"]) == {case.case_id for case in info.cases("validation")}


def test_of_equal_thresholds_the_one_nearest_a_half_is_taken(info):
    assert Validator(info, 32, 0.0)({"ct": _Constant(0.95)}).thresholds["ct"] == 0.5
