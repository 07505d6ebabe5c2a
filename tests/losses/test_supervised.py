"""Supervised and consistency losses against closed forms."""

import math

import numpy as np
import pytest

from semicml_tf.losses.consistency import seen_by_either, squared_difference
from semicml_tf.losses.supervised import batch_dice_loss, cross_entropy, segmentation_loss


def _flat(value, count=3):
    return np.full((count, 4, 4, 1), value, np.float32)


def test_cross_entropy_of_flat_maps_is_per_sample():
    p = np.concatenate([_flat(0.25, 1), _flat(0.5, 1)])
    values = np.asarray(cross_entropy(p, _flat(1.0, 2)))
    np.testing.assert_allclose(values, [-math.log(0.25), -math.log(0.5)], rtol=1e-5)


def test_cross_entropy_is_least_at_a_soft_label():
    q = _flat(0.3, 1)
    entropy = -(0.3 * math.log(0.3) + 0.7 * math.log(0.7))
    assert float(cross_entropy(q, q)[0]) == pytest.approx(entropy, rel=1e-5)
    assert float(cross_entropy(_flat(0.2, 1), q)[0]) > entropy


def test_cross_entropy_is_finite_at_certainty():
    assert np.isfinite(np.asarray(cross_entropy(_flat(0.0), _flat(1.0)))).all()


@pytest.mark.parametrize("p, y", [(1.0, 1.0), (0.5, 1.0), (0.2, 0.6)])
def test_dice_of_flat_maps(p, y):
    assert float(batch_dice_loss(_flat(p), _flat(y))) == pytest.approx(1 - 2 * p * y / (p * p + y * y), abs=1e-5)


def test_dice_sums_over_the_batch():
    label = np.concatenate([_flat(1.0, 1), _flat(0.0, 1)])
    # One slice right, the other all false alarm: 1 - 2 * 16 / (32 + 16), not the mean of 0 and 1.
    assert float(batch_dice_loss(_flat(1.0, 2), label)) == pytest.approx(1 / 3, abs=1e-5)


def test_dice_of_two_empty_maps_is_no_loss():
    assert float(batch_dice_loss(_flat(0.0), _flat(0.0))) == pytest.approx(0.0, abs=1e-6)


def test_weights_add_up():
    p, y = _flat(0.4), _flat(1.0)
    expected = 10 * -math.log(0.4) + 7 * float(batch_dice_loss(p, y))
    assert float(segmentation_loss(p, y, bce_weight=10, dice_weight=7)) == pytest.approx(expected, rel=1e-5)


def test_squared_difference_and_slices_with_foreground():
    p, q = _flat(0.1, 2), _flat(0.1, 2).copy()
    q[1, 0, 0] = 0.9
    np.testing.assert_allclose(np.asarray(squared_difference(p, q)), [0.0, 0.64 / 16], atol=1e-6)
    np.testing.assert_array_equal(np.asarray(seen_by_either(p, q)), [0.0, 1.0])
