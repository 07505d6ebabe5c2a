"""Losses of several regions, of exclusive classes, and of pixels that nobody annotated; all in float64."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from semicml_tf.losses.asc import asc_loss
from semicml_tf.losses.entropy import certain_squared_difference, mean_entropy, pixel_entropy
from semicml_tf.losses.pseudo_labels import confident_cross_entropy, cross_pseudo_supervision, hard_label
from semicml_tf.losses.pyramid import rectified_consistency
from semicml_tf.losses.supervised import batch_dice_loss, cross_entropy, segmentation_loss
from semicml_tf.methods.catalogue import MethodSettings
from semicml_tf.methods.soft_labels import soft_label

RNG = np.random.default_rng(0)
ONE = RNG.uniform(0.05, 0.95, (4, 6, 6, 1))
OTHER = RNG.uniform(0.05, 0.95, (4, 6, 6, 1))
TRUTH = (RNG.random((4, 6, 6, 1)) < 0.3).astype(float)
WEIGHTS = {"bce_weight": 10.0, "dice_weight": 7.0}
PATIENTS = np.array([0, 0, 1, 1])

# Of two maps and a label of one class or more.
LOSSES = {
    "supervised": lambda p, q, y, exclusive: segmentation_loss(p, y, exclusive=exclusive, **WEIGHTS),
    "cross pseudo supervision": lambda p, q, y, exclusive: cross_pseudo_supervision(p, q, exclusive=exclusive),
    "confident": lambda p, q, y, exclusive: confident_cross_entropy(p, q, 0.7, exclusive=exclusive),
    "entropy": lambda p, q, y, exclusive: mean_entropy(p, exclusive=exclusive),
    "certain": lambda p, q, y, exclusive: certain_squared_difference(p, q, pixel_entropy(q, exclusive=exclusive), 0.8),
    "pyramid": lambda p, q, y, exclusive: rectified_consistency([p, q], exclusive=exclusive),
    "asc": lambda p, q, y, exclusive: asc_loss(p, q, PATIENTS, negatives="other_patients", empty="skip"),
}


def _tensors(*arrays):
    return [tf.constant(array, tf.float64) for array in arrays]


@pytest.mark.parametrize("name", LOSSES)
def test_a_repeated_region_does_not_change_the_loss(name):
    once = LOSSES[name](*_tensors(ONE, OTHER, TRUTH), False)
    twice = LOSSES[name](*_tensors(*(np.repeat(a, 2, axis=-1) for a in (ONE, OTHER, TRUTH))), False)
    np.testing.assert_allclose(twice, once, rtol=1e-12)


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "asc"])
def test_one_exclusive_class_is_a_region(name):
    maps = _tensors(ONE, OTHER, TRUTH)
    np.testing.assert_allclose(LOSSES[name](*maps, True), LOSSES[name](*maps, False), rtol=1e-6)


def test_the_cross_entropy_of_exclusive_classes_by_closed_form():
    p = np.broadcast_to([0.2, 0.5], (1, 2, 2, 2))
    for y, expected in (([1.0, 0.0], 0.2), ([0.0, 1.0], 0.5), ([0.0, 0.0], 0.3)):
        label = np.broadcast_to(y, p.shape)
        assert float(cross_entropy(*_tensors(p, label), exclusive=True)[0]) == pytest.approx(-np.log(expected))
    third = np.full((1, 2, 2, 2), 1 / 3)
    assert np.asarray(pixel_entropy(*_tensors(third), exclusive=True)) == pytest.approx(1.0)


def test_the_hard_label_is_the_largest_class_and_the_background_wins_ties():
    p = np.array([[0.2, 0.5], [0.5, 0.0], [0.3, 0.3], [0.4, 0.4]]).reshape(1, 2, 2, 2)
    hard = np.asarray(hard_label(*_tensors(p), exclusive=True)).reshape(4, 2)
    np.testing.assert_array_equal(hard, [[0, 1], [0, 0], [0, 0], [1, 0]])


def test_ignored_slices_change_neither_loss_nor_gradient():
    """80 % of the slices are ignored: what is left gives the loss and the gradients of the other slices alone."""
    p, y = (RNG.uniform(0.05, 0.95, (10, 4, 4, 2)) for _ in range(2))
    y = (y > 0.6).astype(float)
    p /= 2.0  # so that exclusive classes leave something to the background
    y[..., 1] *= 1.0 - y[..., 0]
    valid = np.zeros((10, 4, 4, 1))
    valid[3], valid[7, :2] = 1.0, 1.0
    for exclusive in (False, True):

        def loss(p, y, valid=None, exclusive=exclusive):
            p = tf.constant(p, tf.float64)
            with tf.GradientTape() as tape:
                tape.watch(p)
                value = segmentation_loss(p, tf.constant(y), exclusive=exclusive, valid=valid, **WEIGHTS)
            return float(value), np.asarray(tape.gradient(value, p))

        sparse, gradient = loss(p, y, tf.constant(valid))
        wrong = np.where(valid > 0, y, 1.0 - y)
        assert loss(p, wrong, tf.constant(valid))[0] == sparse
        # The annotated pixels as slices of their own: 16 and 8 of them.
        rows = [array[3].reshape(2, 2, 4, 2) for array in (p, y)]
        halves = [array[7, :2].reshape(1, 2, 4, 2) for array in (p, y)]
        alone, expected = loss(*(np.concatenate(pair) for pair in zip(rows, halves)))
        assert sparse == pytest.approx(alone, rel=1e-12)
        np.testing.assert_allclose(gradient[3].ravel(), expected[:2].ravel(), rtol=1e-10)
        np.testing.assert_allclose(gradient[7, :2].ravel(), expected[2].ravel(), rtol=1e-10)
        assert not gradient[[0, 1, 2, 4, 5, 6, 8, 9]].any() and not gradient[7, 2:].any()


def test_dice_and_contrast_are_means_over_classes():
    p, q, y = (np.concatenate(pair, axis=-1) for pair in ((ONE, OTHER), (OTHER, ONE[::-1]), (TRUTH, 1.0 - TRUTH)))
    parts = [batch_dice_loss(*_tensors(p[..., k : k + 1], y[..., k : k + 1])) for k in range(2)]
    np.testing.assert_allclose(batch_dice_loss(*_tensors(p, y)), sum(parts) / 2, rtol=1e-12)
    classes = [asc_loss(*_tensors(p[..., k : k + 1], q[..., k : k + 1]), PATIENTS) for k in range(2)]
    np.testing.assert_allclose(asc_loss(*_tensors(p, q), PATIENTS), sum(classes) / 2, rtol=1e-12)


def test_fused_labels_of_one_exclusive_class_are_those_of_a_region_and_of_classes_multiply():
    settings = MethodSettings(label_fusion="odds", label_sharpness=1.0)
    maps = dict(zip(("ct", "pet"), _tensors(ONE, OTHER)))
    half = {"ct": tf.constant(0.5, tf.float64), "pet": tf.constant(0.5, tf.float64)}
    np.testing.assert_allclose(
        soft_label(maps, {}, settings, exclusive=True), soft_label(maps, half, settings), rtol=1e-9
    )
    p, q = np.array([0.2, 0.5]), np.array([0.4, 0.4])
    maps = dict(zip(("ct", "pet"), _tensors(*(np.broadcast_to(value, (1, 1, 1, 2)) for value in (p, q)))))
    product = np.array([0.3 * 0.2, *(p * q)])
    fused = np.asarray(soft_label(maps, {}, settings, exclusive=True)).ravel()
    np.testing.assert_allclose(fused, (product / product.sum())[1:], rtol=1e-9)
    hard = soft_label(maps, {}, MethodSettings(label_fusion="odds", pseudo_labels="hard"), exclusive=True)
    np.testing.assert_array_equal(ops.reshape(hard, (2,)), [0, 1])
