"""Tests of paired scores against enumeration and by hand."""

import itertools

import numpy as np
import pytest

from semicml_tf.evaluation import bootstrap, paired_tests


def _by_enumeration(differences):
    """Two-sided p of the signed-rank sum: the share of all changes of sign that are as extreme."""
    unequal = np.array([value for value in differences if value != 0])
    sizes = np.abs(unequal)
    ranks = np.array([(np.sum(sizes < size) + np.sum(sizes <= size) + 1) / 2 for size in sizes])
    centre = ranks.sum() / 2
    observed = abs(ranks[unequal > 0].sum() - centre)
    sums = [np.dot(signs, ranks) for signs in itertools.product((0, 1), repeat=len(ranks))]
    return np.mean([abs(value - centre) >= observed - 1e-9 for value in sums])


@pytest.mark.parametrize(
    "differences",
    [
        [0.1, 0.2, 0.3, 0.4, 0.5],
        [0.1, -0.2, 0.3, 0.4, 0.5, 0.6, -0.7],
        [0.1, 0.1, -0.1, 0.2, 0.2, 0.3],
        [0.0, 0.0, 0.1, -0.2, 0.3, 0.4],
        [0.3, -0.3],
    ],
)
def test_wilcoxon_equals_the_enumeration_of_all_signs(differences):
    second = [0.4] * len(differences)
    found = paired_tests.wilcoxon([0.4 + value for value in differences], second)
    assert found.p == pytest.approx(_by_enumeration(differences))
    assert found.difference == pytest.approx(sum(differences) / len(differences))
    assert found.patients == len(differences)
    assert found.differing == sum(value != 0 for value in differences)
    assert found.higher == sum(value > 0 for value in differences)


def test_the_interval_is_that_of_the_mean_difference():
    first, second = [0.5, 0.7, 0.4, 0.9, 0.6], [0.4, 0.5, 0.5, 0.6, 0.6]
    low, high = paired_tests.wilcoxon(first, second).interval
    assert [low, high] == pytest.approx(bootstrap.intervals([[0.1, 0.2, -0.1, 0.3, 0.0]])[0])
    assert paired_tests.wilcoxon(first[:4], second[:4]).interval is None


def test_wilcoxon_of_one_sign_is_two_to_the_one_minus_n():
    first = [0.5 + 0.01 * index for index in range(8)]
    assert paired_tests.wilcoxon(first, [0.1] * 8).p == pytest.approx(2 / 2**8)
    assert paired_tests.wilcoxon([0.1] * 8, first).p == pytest.approx(2 / 2**8)


def test_wilcoxon_of_equal_scores_is_one():
    found = paired_tests.wilcoxon([0.1 + 0.2, 0.5], [0.3, 0.5])  # 0.1 + 0.2 is not 0.3 to the last bit
    assert (found.difference, found.p, found.patients, found.differing) == (0.0, 1.0, 2, 0)


def test_wilcoxon_refuses_unpaired_scores():
    with pytest.raises(ValueError, match="pairs"):
        paired_tests.wilcoxon([0.1, 0.2], [0.1])


def test_holm_equals_a_calculation_by_hand():
    # Sorted .005 .01 .03 .04: times 4, 3, 2, 1 = .02 .03 .06 .04, the last raised to .06.
    assert paired_tests.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert paired_tests.holm([0.5, 0.6]) == [1.0, 1.0]
    assert paired_tests.holm([0.2]) == [0.2]
    assert paired_tests.holm([]) == []
