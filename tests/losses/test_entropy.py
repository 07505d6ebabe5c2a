"""Entropy and what it masks, against closed forms."""

import math

import numpy as np
import pytest
import tensorflow as tf

from semicml_tf.losses.entropy import certain_squared_difference, mean_entropy, pixel_entropy


def _flat(value, count=2):
    return np.full((count, 4, 4, 1), value, np.float32)


def test_entropy_is_one_at_a_half_and_zero_at_certainty():
    assert np.asarray(pixel_entropy(_flat(0.5))).ravel() == pytest.approx(1.0)
    assert np.asarray(pixel_entropy(_flat(0.0))).ravel() == pytest.approx(0.0, abs=1e-5)
    assert np.asarray(pixel_entropy(_flat(1.0))).ravel() == pytest.approx(0.0, abs=1e-5)
    expected = -(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75))
    np.testing.assert_allclose(np.asarray(mean_entropy(_flat(0.25))), [expected] * 2, rtol=1e-5)


def test_less_entropy_is_away_from_a_half():
    p = tf.Variable(np.concatenate([_flat(0.3, 1), _flat(0.7, 1)]))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(mean_entropy(p))
    low, high = tape.gradient(loss, p).numpy()
    # d/dp of the entropy over ln 2 is log2((1 - p) / p), shared by 16 pixels.
    assert low.ravel() == pytest.approx(math.log2(0.7 / 0.3) / 16, rel=1e-4)
    assert high.ravel() == pytest.approx(-math.log2(0.7 / 0.3) / 16, rel=1e-4)


def test_only_certain_pixels_count_and_count_equally():
    p, q, doubt = _flat(0.9), _flat(0.4), _flat(1.0)
    q[0, 0, 0], doubt[0, 0, 0] = 0.6, 0.7
    q[0, 1], doubt[0, 1] = 0.8, 0.7499
    # One pixel of 0.3^2 and four of 0.1^2, though one slice has none of them.
    expected = (0.09 + 4 * 0.01) / 5
    assert float(certain_squared_difference(p, q, doubt, 0.75)) == pytest.approx(expected, rel=1e-5)
    # At the threshold itself a pixel is out.
    assert float(certain_squared_difference(p, q, doubt, 0.7)) == 0.0


def test_the_mask_has_no_gradient():
    p, q, doubt = (tf.Variable(_flat(value)) for value in (0.9, 0.4, 0.2))
    with tf.GradientTape() as tape:
        loss = certain_squared_difference(p, q, doubt, 0.75)
    gradient, _, through_mask = tape.gradient(loss, [p, q, doubt])
    assert gradient.numpy().ravel() == pytest.approx(2 * 0.5 / 32) and through_mask is None
