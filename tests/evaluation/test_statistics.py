"""Medians, intervals, means without missed patients, and failures by name, for given scores."""

import dataclasses
import json
import math
import statistics

import numpy as np
import pytest
import scipy.stats

from semicml_tf.evaluation import bootstrap, failures, scores
from semicml_tf.evaluation.config import EvaluateConfig
from semicml_tf.evaluation.metrics import masks
from tests.support.experiment_data import case_score


def test_the_interval_of_many_patients_equals_the_normal_interval():
    values = np.random.default_rng(3).normal(2.0, 0.5, 400)
    (interval,) = bootstrap.intervals([values])
    half = 1.96 * values.std(ddof=1) / math.sqrt(len(values))
    assert interval == pytest.approx([values.mean() - half, values.mean() + half], abs=0.1 * half)


def test_intervals_are_reproducible_and_share_their_resamples():
    values = [0.1, 0.4, 0.5, 0.7, 0.9, 0.95]
    found = bootstrap.intervals([values, [10 * value for value in values], [0.5] * 6])
    assert found == bootstrap.intervals([values, [10 * value for value in values], [0.5] * 6])
    assert found[1] == pytest.approx([10 * end for end in found[0]])
    assert found[2] == [0.5, 0.5]
    assert min(values) < found[0][0] < statistics.mean(values) < found[0][1] < max(values)


def test_the_coverage_of_intervals_of_few_patients():
    for patients, share in bootstrap.COVERAGE.items():
        reach = scipy.stats.norm.ppf(0.975) * math.sqrt((patients - 1) / patients)
        assert 2 * scipy.stats.t.cdf(reach, patients - 1) - 1 == pytest.approx(share, abs=0.005)
        assert f"{share:.0%} with {patients}" in bootstrap.METHOD
    # Of 200 draws of five patients; four standard errors are 0.1.
    drawn = np.random.default_rng(0).normal(size=(200, 5)).tolist()
    covered = sum(low <= 0 <= high for low, high in bootstrap.intervals(drawn))
    assert covered / 200 == pytest.approx(bootstrap.COVERAGE[5], abs=0.1)


def test_few_patients_have_no_interval():
    few = [0.1, 0.5, 0.9, 0.2]
    assert bootstrap.intervals([few]) == [None] and len(few) == bootstrap.FEWEST - 1
    assert bootstrap.intervals([[]]) == [None] and bootstrap.intervals([]) == []


def _false_alarm(patient):
    return dataclasses.replace(
        case_score(patient, 0.0), outcome="false alarm", sensitivity=None, truth_ml=0.0, prediction_ml=5.0
    )


def test_means_with_and_without_the_missed_and_false_alarms():
    cases = [case_score(f"p{index}", dice) for index, dice in enumerate((0.6, 0.0, 0.8, 0.7))] + [_false_alarm("p4")]
    summary = scores.summarise(cases)
    assert summary["dice"]["mean"] == pytest.approx(2.1 / 5) and summary["dice"]["median"] == 0.6
    assert summary["hd95_mm"]["mean"] == pytest.approx((3 * 10 + 2 * 100) / 5)
    without = summary[scores.WITHOUT]
    assert without["cases"] == 3 and without["dice"]["mean"] == pytest.approx(0.7)
    assert without["hd95_mm"]["mean"] == without["hd95_mm"]["median"] == 10.0
    low, high = summary["dice"]["interval"]
    assert 0 <= low < 0.42 < high < 0.8
    assert without["dice"]["interval"] is None  # three are left
    json.dumps(summary, allow_nan=False)


def test_lesions_are_added_up_where_all_patients_have_them_counted():
    counts = {"lesions_true": 2, "lesions_predicted": 3, "lesions_found": 1, "lesions_missed": 1, "lesions_false": 2}
    cases = [dataclasses.replace(case_score(name, 0.5), **counts) for name in "abc"]
    assert scores.summarise(cases)["lesions"] == {"true": 6, "predicted": 9, "found": 3, "missed": 3, "false": 6}
    without = dataclasses.replace(case_score("d", 0.5), lesions_true=None)
    assert scores.summarise([*cases, without])["lesions"] is None


def test_a_row_with_missed_patients_only_has_no_other_means():
    summary = scores.summarise([case_score("a", 0.0)])
    assert summary[scores.WITHOUT]["cases"] == 0 and summary[scores.WITHOUT]["dice"]["mean"] is None


def test_failures_are_named_once_and_the_worst_first():
    cases = [case_score(name, dice) for name, dice in (("a", 0.49), ("b", 0.5), ("c", 0.1), ("d", 0.0))]
    cases += [_false_alarm("e"), dataclasses.replace(case_score("f", 0.9), hd95_mm=math.inf)]
    found = failures.listed(cases, 0.5)
    assert found == {
        "missed": ["d"],
        "false_alarms": ["e"],
        "dice_below": [["c", 0.1], ["a", 0.49]],
        "not_finite": ["f"],
    }
    text = failures.sentence(found, 0.5)
    assert text == "missed d; false alarm e; DSC below 0.5 c (0.100), a (0.490); no finite number f"
    assert failures.sentence(failures.listed([case_score("b", 0.5)], 0.5), 0.5) == "none"


def test_the_flags_defaults_are_those_of_the_library():
    config = EvaluateConfig(run="run")
    assert config.surface_tolerance_mm == masks.SURFACE_TOLERANCE_MM
    assert config.failure_dice == failures.DICE_BOUND
