"""Validation: Dice per patient, the chosen threshold, and the alarm for missing foreground."""

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
    """Mean Dice of a mask that covers all of each validation patient with a lesion."""
    records = [record for record in read_cases(info, info.cases("validation")) if record.label.any()]
    return np.mean([2 * r.label.sum() / (r.label.sum() + r.label.size) for r in records])


def test_validation_chooses_the_threshold_with_the_best_dice(info):
    """Everything at 0.35: above it the mask is empty, below it full."""
    validated = Validator(info, 32, 0.0)({"ct": _Constant(0.35), "pet": _Constant(0.75)})
    full = _everything_dice(info)
    for name, level in (("ct", 0.35), ("pet", 0.75)):
        # A full mask beats an empty one wherever there is a lesion.
        assert validated.thresholds[name] <= level
        assert validated.dice[name] == pytest.approx(full, abs=1e-6)


def test_a_fixed_threshold_is_kept_and_missing_foreground_is_reported(info):
    validated = Validator(info, 32, 0.5)({"ct": _Constant(0.35), "pet": _Constant(0.75)})
    assert validated.thresholds == {"ct": 0.5, "pet": 0.5}
    assert validated.silent == ("ct",)
    assert validated.dice["pet"] == pytest.approx(_everything_dice(info), abs=1e-6)


def test_a_network_without_foreground_scores_zero(info):
    """Also where a patient has no lesion and its empty mask would be perfect."""
    silent = Validator(info, 32, 0.5)({"ct": _Constant(0.1)})
    assert silent.dice["ct"] == 0.0 and silent.silent == ("ct",)


def test_among_equally_good_thresholds_the_one_nearest_one_half_is_chosen(info):
    assert Validator(info, 32, 0.0)({"ct": _Constant(0.95)}).thresholds["ct"] == 0.5
