"""Validation: Dice per patient, the chosen threshold, and the alarm for missing foreground."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from semicml_tf.geometry.patch import Patch
from semicml_tf.labels import SOFTMAX, LabelDefinition
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.records.shards import read_cases
from semicml_tf.training import validation
from semicml_tf.training.validation import Validator


class _Constant:
    """A network that answers `value` everywhere, for each class."""

    def __init__(self, value):
        self.value = value

    def __call__(self, x, training):
        assert training is False
        return tf.ones_like(x) * tf.constant(self.value, tf.float32)


@pytest.fixture(scope="module")
def info(phantom_dataset):
    return DatasetInfo.load(phantom_dataset)


def _everything_dice(info):
    """Mean Dice of a mask that covers all of each validation patient with a lesion."""
    records = [record for record in read_cases(info, info.cases("validation")) if record.label.any()]
    return np.mean([2 * r.label.sum() / (r.label.sum() + r.label.size) for r in records])


def test_validation_chooses_the_threshold_with_the_best_dice(info):
    """Everything at 0.35: above it the mask is empty, below it full."""
    validated = Validator(info, Patch(32), 0.0)({"ct": _Constant(0.35), "pet": _Constant(0.75)})
    full = _everything_dice(info)
    for name, level in (("ct", 0.35), ("pet", 0.75)):
        # A full mask beats an empty one wherever there is a lesion.
        assert validated.thresholds[name][0] <= level
        assert validated.means[name] == pytest.approx(full, abs=1e-6)


def test_a_fixed_threshold_is_kept_and_missing_foreground_is_reported(info):
    validated = Validator(info, Patch(32), 0.5)({"ct": _Constant(0.35), "pet": _Constant(0.75)})
    assert validated.thresholds == {"ct": (0.5,), "pet": (0.5,)}
    assert validated.silent == (("ct", "lesion"),)
    (line,) = validated.silence("train on")
    assert line.startswith("the ct network predicts no foreground")
    assert validated.dice["pet"]["lesion"] == pytest.approx(_everything_dice(info), abs=1e-6)


def test_a_network_without_foreground_scores_zero(info):
    """Also where a patient has no lesion and its empty mask would be perfect."""
    silent = Validator(info, Patch(32), 0.5)({"ct": _Constant(0.1)})
    assert silent.means["ct"] == 0.0 and silent.silent == (("ct", "lesion"),)


def test_among_equally_good_thresholds_the_one_nearest_one_half_is_chosen(info):
    assert Validator(info, Patch(32), 0.0)({"ct": _Constant(0.95)}).thresholds["ct"] == (0.5,)


@pytest.fixture
def of_classes(info, monkeypatch):
    """Makes the validation patients' labels codes of two classes, the lower half of the lesion being the second."""

    def make(labels):
        def read(_, cases):
            for record in read_cases(info, cases):
                middle = record.label.shape[1] // 2
                values = record.label.astype(int)
                values[:, middle:] *= 2
                if labels.ignore_value is not None:
                    values[:, :, :2] = labels.ignore_value
                yield dataclasses.replace(record, labels=labels, label=labels.encode(values))

        monkeypatch.setattr(validation, "read_cases", read)
        return dataclasses.replace(info, labels=labels)

    return make


def test_each_region_has_its_own_threshold_and_its_own_patients(of_classes):
    info = of_classes(LabelDefinition({"whole": (1, 2), "lower": (2,)}))
    validated = Validator(info, Patch(32), 0.0, pictures=1)({"ct": _Constant([0.35, 0.75])})
    assert validated.thresholds["ct"][0] <= 0.35 and validated.thresholds["ct"] == (0.3, 0.5)
    truths = [
        [info.labels.mask(r.label, name) for name in info.labels.names]
        for r in validation.read_cases(info, info.cases("validation"))
    ]
    for number, name in enumerate(info.labels.names):
        masks = [masks[number] for masks in truths if masks[number].any()]
        expected = np.mean([2 * mask.sum() / (mask.sum() + mask.size) for mask in masks])
        assert validated.dice["ct"][name] == pytest.approx(expected, abs=1e-6)
    assert validated.with_numbers(validated.numbers()) == validated
    assert set(validated.columns()) == {
        "dice_ct",
        "dice_ct_whole",
        "dice_ct_lower",
        "threshold_ct_whole",
        "threshold_ct_lower",
    }
    assert validated.stored_threshold("ct") == {"threshold": {"whole": 0.3, "lower": 0.5}}


def test_exclusive_classes_have_no_threshold_and_ignored_voxels_do_not_count(of_classes):
    info = of_classes(LabelDefinition({"upper": (1,), "lower": (2,)}, SOFTMAX, ignore_value=9))
    validated = Validator(info, Patch(32), 0.0)({"ct": _Constant([0.5, 0.2]), "pet": _Constant([0.2, 0.3])})
    records = list(validation.read_cases(info, info.cases("validation")))
    upper = [info.labels.mask(record.label, "upper")[:, :, 2:] for record in records]
    expected = np.mean([2 * mask.sum() / (mask.sum() + mask.size) for mask in upper if mask.any()])
    assert validated.dice["ct"] == {"upper": pytest.approx(expected, abs=1e-6), "lower": 0.0}
    assert validated.thresholds == {"ct": (), "pet": ()} and validated.stored_threshold("ct") == {}
    # The background has the largest probability on pet.
    assert validated.dice["pet"] == {"upper": 0.0, "lower": 0.0}
    assert {line.partition(" in any")[0] for line in validated.silence("train on")} == {
        "the pet network predicts no upper",
        "the ct and pet network predicts no lower",
    }
