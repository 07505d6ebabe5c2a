"""Statistics of an experiment against closed forms."""

import math

import pytest

from semicml_tf.experiments import statistics
from semicml_tf.experiments.statistics import Needed


def test_spread_over_seeds_and_over_patients():
    scores = {1: {"a": 0.2, "b": 0.6}, 2: {"a": 0.4, "b": 0.8}, 3: {"a": 0.6, "b": 1.0}}
    found = statistics.spread(scores)
    # Seeds' means .4 .6 .8, patients' means .4 .8.
    assert found.mean == pytest.approx(0.6)
    assert found.sd_seeds == pytest.approx(0.2)
    assert found.sd_patients == pytest.approx(math.sqrt(0.08))
    assert (found.seeds, found.patients) == (3, 2)


def test_spread_of_one_seed_has_no_sd_over_seeds():
    found = statistics.spread({7: {"a": 0.2, "b": 0.4}})
    assert found.sd_seeds is None and found.sd_patients == pytest.approx(math.sqrt(0.02))


def test_patients_must_be_the_same_with_every_seed():
    with pytest.raises(ValueError, match="same patients"):
        statistics.means_of_patients({1: {"a": 0.2}, 2: {"b": 0.2}})


def test_gap_closed():
    assert statistics.gap_closed(0.7, 0.5, 0.9) == pytest.approx(0.5)
    assert statistics.gap_closed(0.4, 0.5, 0.9) == pytest.approx(-0.25)
    assert statistics.gap_closed(1.0, 0.5, 0.9) == pytest.approx(1.25)
    assert statistics.gap_closed(0.7, 0.5, 0.5) is None
    assert statistics.gap_closed(0.7, 0.5, 0.4) is None


def test_labels_needed_are_interpolated_over_the_logarithm():
    curve = {2: 0.4, 8: 0.6, 32: 0.7}
    # Half way from 2 to 8 over the logarithm is their geometric mean.
    assert statistics.needed(curve, 0.5).labels == pytest.approx(4.0)
    assert statistics.needed(curve, 0.65).labels == pytest.approx(16.0)
    for labelled, score in curve.items():
        assert statistics.needed(curve, score) == Needed(pytest.approx(labelled))
    assert statistics.needed(curve, 0.5).saved(2) == pytest.approx(2.0)


def test_labels_needed_beyond_the_curve_are_bounds():
    curve = {2: 0.4, 8: 0.6}
    assert statistics.needed(curve, 0.61) == Needed(8, ">")
    assert statistics.needed(curve, 0.39) == Needed(2, "<")
    assert statistics.needed({2: 0.1, 8: 0.3}, 0.1 + 0.2).bound == ""  # .3 but for the last bit


def test_a_falling_curve_is_replaced_by_its_running_maximum():
    curve = {2: 0.4, 4: 0.6, 8: 0.5, 16: 0.8}
    assert statistics.rising(curve) == [(2, 0.4), (4, 0.6), (8, 0.6), (16, 0.8)]
    # .6 is had with 4 already; from there it takes until 8 before anything is gained.
    assert statistics.needed(curve, 0.6).labels == pytest.approx(4.0)
    assert statistics.needed(curve, 0.7).labels == pytest.approx(math.sqrt(8 * 16))
    assert statistics.needed({4: 0.5, 8: 0.5}, 0.5) == Needed(4.0)


def test_a_curve_needs_two_points():
    with pytest.raises(ValueError, match="two or more"):
        statistics.needed({4: 0.5}, 0.5)
