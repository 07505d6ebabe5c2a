"""Losses against labels that a map is cut to: closed forms, and where the gradient goes."""

import math

import numpy as np
import pytest
import tensorflow as tf

from semicml_tf.losses.consistency import mutual_squared_difference
from semicml_tf.losses.pseudo_labels import confident_cross_entropy, cross_pseudo_supervision, hard_label


def _flat(value, count=2):
    return np.full((count, 4, 4, 1), value, np.float32)


def _gradients(loss, *values):
    maps = [tf.Variable(_flat(value)) for value in values]
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(loss(*maps))
    return [None if g is None else float(tf.reduce_mean(g)) * 16 for g in tape.gradient(total, maps)]


def test_a_label_is_foreground_above_a_half():
    assert (np.asarray(hard_label(np.array([0.49, 0.5, 0.51], np.float32))) == [0, 0, 1]).all()


@pytest.mark.parametrize("p, q", [(0.6, 0.7), (0.4, 0.9), (0.2, 0.1)])
def test_each_map_learns_from_the_label_of_the_other(p, q):
    def bce(x, label):
        return -math.log(x if label > 0.5 else 1 - x)

    value = np.asarray(cross_pseudo_supervision(_flat(p), _flat(q)))
    np.testing.assert_allclose(value, [bce(p, q) + bce(q, p)] * 2, rtol=1e-5)


def test_no_gradient_reaches_the_hard_labels():
    # Unsure of background, p is called to the foreground that q sees, and q to p's background.
    p, q = _gradients(cross_pseudo_supervision, 0.4, 0.9)
    assert (p, q) == (pytest.approx(-1 / 0.4, rel=1e-4), pytest.approx(1 / 0.1, rel=1e-4))


@pytest.mark.parametrize("q, taught", [(0.79, 0), (0.21, 0), (0.5, 0), (0.81, 1), (0.19, 1)])
def test_only_confident_labels_teach_and_get_no_gradient(q, taught):
    value = np.asarray(confident_cross_entropy(_flat(0.3), _flat(q), 0.8))
    charged = -math.log(0.3 if q > 0.5 else 0.7)
    np.testing.assert_allclose(value, [charged * taught] * 2, rtol=1e-5)
    strong, weak = _gradients(lambda p, q: confident_cross_entropy(p, q, 0.8), 0.3, q)
    assert weak is None
    assert np.sign(strong) == taught * (-1 if q > 0.5 else 1)


def test_pixels_without_confident_label_stay_in_the_mean():
    q = _flat(0.6)
    q[:, :, :1] = 0.9
    np.testing.assert_allclose(
        np.asarray(confident_cross_entropy(_flat(0.3), q, 0.8)), [-math.log(0.3) / 4] * 2, rtol=1e-5
    )


def test_two_maps_move_equally():
    np.testing.assert_allclose(np.asarray(mutual_squared_difference(_flat(0.9), _flat(0.4))), [0.25] * 2, rtol=1e-5)
    p, q = _gradients(mutual_squared_difference, 0.9, 0.4)
    assert (p, q) == (pytest.approx(0.5), pytest.approx(-0.5))
