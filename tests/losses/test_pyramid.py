"""The pyramid's rectified consistency against closed forms."""

import math

import numpy as np
import pytest
import tensorflow as tf

from semicml_tf.losses.pyramid import pixel_divergence, rectified_consistency


def _flat(value, count=2):
    return np.full((count, 4, 4, 1), value, np.float32)


def _divergence(q, p):
    return q * math.log(q / p) + (1 - q) * math.log((1 - q) / (1 - p))


@pytest.mark.parametrize("q, p", [(0.5, 0.25), (0.1, 0.9), (0.7, 0.7)])
def test_divergence_of_two_coins(q, p):
    assert np.asarray(pixel_divergence(_flat(q), _flat(p))).ravel() == pytest.approx(_divergence(q, p), abs=1e-6)


def test_scales_that_agree_cost_nothing():
    maps = [np.random.default_rng(0).uniform(size=(2, 8, 8, 1)).astype(np.float32)] * 4
    assert float(rectified_consistency(maps)) == pytest.approx(0.0, abs=1e-6)


def test_flat_scales_in_closed_form():
    # exp(-KL) is the same everywhere in a flat map: it cancels.
    values = (0.2, 0.4, 0.6, 0.8)
    expected = sum((v - 0.5) ** 2 + _divergence(0.5, v) for v in values) / 4
    assert float(rectified_consistency([_flat(v) for v in values])) == pytest.approx(expected, rel=1e-5)


def test_pixels_that_disagree_most_count_least_in_the_square():
    p, q = _flat(0.5), _flat(0.5)
    p[0], q[0] = 0.9, 0.1
    doubts = [_divergence(0.5, v) for v in (0.9, 0.1)]
    expected = []
    for doubt in doubts:
        weight = math.exp(-doubt)
        expected.append(weight * 0.16 / (weight + 1) + doubt / 2)
    assert float(rectified_consistency([p, q])) == pytest.approx(sum(expected) / 2, rel=1e-5)


def test_every_scale_moves_towards_the_others():
    maps = [tf.Variable(_flat(v)) for v in (0.2, 0.4, 0.6, 0.8)]
    with tf.GradientTape() as tape:
        loss = rectified_consistency(maps)
    signs = [float(tf.sign(tf.reduce_mean(g))) for g in tape.gradient(loss, maps)]
    assert signs == [-1.0, -1.0, 1.0, 1.0]
