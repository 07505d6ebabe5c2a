"""Changes of intensities: what each leaves as it is, and that each changes the rest."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from semicml_tf.input import intensity
from semicml_tf.input.augmentation import NONE, STRONG

CHANGES = ("bias_field", "gamma", "blur", "low_resolution")
IMAGE = np.random.default_rng(0).normal(size=(24, 24, 2)).astype(np.float32)
FLAT = np.full((24, 24, 1), -0.7, np.float32)


def _seed(number):
    return tf.constant([number, 5])


@pytest.mark.parametrize("name", CHANGES)
def test_a_constant_stays_the_constant_and_an_image_changes(name):
    change = getattr(intensity, name)
    for seed in range(4):
        np.testing.assert_allclose(change(FLAT, _seed(seed)), FLAT, atol=1e-5)
    assert not np.allclose(change(IMAGE, _seed(1)), IMAGE, atol=1e-2)
    assert not np.allclose(change(IMAGE, _seed(1)), change(IMAGE, _seed(2)), atol=1e-3)


def test_gamma_keeps_order_mean_and_deviation():
    for seed in range(8):
        changed = intensity.gamma(IMAGE, _seed(seed)).numpy()
        assert changed.mean() == pytest.approx(IMAGE.mean(), abs=1e-4)
        assert changed.std() == pytest.approx(IMAGE.std(), rel=1e-4)
        order = np.argsort(IMAGE, axis=None)
        assert (np.diff(changed.ravel()[order]) >= -1e-5).all()


def test_blur_keeps_the_mean_of_each_channel_and_spreads_a_pixel_evenly():
    blurred = intensity.blur(IMAGE, _seed(1)).numpy()
    np.testing.assert_allclose(blurred.mean(axis=(0, 1)), IMAGE.mean(axis=(0, 1)), atol=1e-5)
    assert blurred.std() < 0.8 * IMAGE.std()
    pixel = np.zeros((15, 15, 1), np.float32)
    pixel[7, 7] = 1.0
    spread = intensity.blur(pixel, _seed(1)).numpy()[..., 0]
    np.testing.assert_allclose(spread, spread.T, atol=1e-7)
    np.testing.assert_allclose(spread, spread[::-1], atol=1e-7)


def test_a_bias_field_keeps_the_lowest_value_and_the_order_of_neighbours():
    changed = intensity.bias_field(IMAGE, _seed(3)).numpy()
    assert changed.min() == pytest.approx(IMAGE.min(), abs=1e-6)
    ratio = (changed - IMAGE.min()) / np.maximum(IMAGE - IMAGE.min(), 1e-3)
    fields = ratio[..., 0]
    assert (fields > 0).sum() >= fields.size - 1
    # A smooth field: one factor for both channels of a pixel.
    both = (IMAGE - IMAGE.min() > 0.1).all(axis=-1)
    np.testing.assert_allclose(ratio[both][:, 0], ratio[both][:, 1], rtol=1e-3)


def test_only_values_without_a_unit_get_a_bias_field():
    biased = dataclasses.replace(NONE, bias_field=1.0)
    np.testing.assert_array_equal(intensity.varied(IMAGE, biased, _seed(1)), IMAGE)
    assert not np.allclose(intensity.varied(IMAGE, biased, _seed(1), has_unit=False), IMAGE, atol=1e-2)


def test_each_change_has_its_probability():
    """Of 100 windows, the share that differs is within four standard deviations."""
    draw = tf.function(lambda seed, how: intensity.varied(IMAGE[:8, :8], how, seed, has_unit=False))
    for name in CHANGES:
        probability = getattr(STRONG, name)
        only = dataclasses.replace(NONE, **{name: probability})
        changed = np.mean([not np.array_equal(draw(_seed(seed), only), IMAGE[:8, :8]) for seed in range(100)])
        assert abs(changed - probability) < 4 * (probability * (1 - probability) / 100) ** 0.5
