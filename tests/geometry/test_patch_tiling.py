"""Patches that cover an axis: their overlap, their weights, and axes shorter than a patch."""

import numpy as np
import pytest

from semicml_tf.geometry.patch_tiling import intervals


@pytest.mark.parametrize("size, side", [(1, 8), (5, 8), (8, 8), (9, 8), (16, 8), (31, 8), (7, 1), (20, 5)])
def test_weights_have_the_sum_1_and_places_are_those_of_a_mirrored_axis(size, side):
    values, total = np.arange(size), np.zeros(size)
    made = intervals(size, side)
    for one in made:
        assert len(one.places) == side
        np.testing.assert_array_equal(one.places[one.inside], values[one.target])
        total[one.target] += one.weight
    np.testing.assert_allclose(total, 1.0, atol=1e-6)
    if size <= side:
        before = (side - size) // 2
        np.testing.assert_array_equal(made[0].places, np.pad(values, (before, side - size - before), "symmetric"))
    elif side > 1:
        starts = [one.target.start for one in made]
        assert max(np.diff(starts)) <= np.ceil(side / 2)


def test_the_weight_is_nnunets_gaussian_where_two_patches_overlap():
    first, second = intervals(12, 8)
    gaussian = np.exp(-0.5 * (np.arange(8) - 3.5) ** 2)
    expected = gaussian[4:] / (gaussian[4:] + gaussian[:4])
    np.testing.assert_allclose(first.weight[4:], expected, rtol=1e-5)
    np.testing.assert_allclose(second.weight[:4], 1 - expected, rtol=1e-4)
