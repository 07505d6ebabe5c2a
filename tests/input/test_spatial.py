"""Geometry: the displaced window is the plain one where nothing is displaced, and elastic fields are smooth."""

import numpy as np
import pytest
import tensorflow as tf

from semicml_tf.input import spatial
from semicml_tf.input.augmentation import LIGHT, NONE

SEED = tf.constant([3, 4])


@pytest.mark.parametrize("shape", [(20, 50, 3), (90, 40, 3), (1, 6, 3)])
@pytest.mark.parametrize("sides", [(48, 48), (30, 48)])
def test_without_displacement_the_warped_window_is_the_projected_one(shape, sides):
    """Also where the window reaches far beyond the slice, whose mirror images continue it."""
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    for seed in range(4):
        transform = spatial.affine(shape[:2], sides, LIGHT, tf.constant([seed, 1]))
        warped = spatial.warped(image, transform, tf.zeros([*sides, 2]))
        # Coordinates are rounded in another order.
        np.testing.assert_allclose(warped, spatial.projected(image, transform, sides), atol=2e-4)


def test_an_elastic_field_of_amplitude_0_moves_nothing_and_one_above_moves_smoothly():
    assert not spatial.elastic((32, 32), 0.0, SEED).numpy().any()
    field = spatial.elastic((64, 64), 0.04 * 64, SEED).numpy()
    assert field.shape == (64, 64, 2)
    # Bicubic interpolation may exceed its control points.
    assert 0.5 < np.abs(field).max() < 2.0 * 0.04 * 64
    for axis in (0, 1):
        assert np.abs(np.diff(field, axis=axis)).max() < 1.0


def test_a_displacement_shifts_the_window():
    image = np.random.default_rng(0).normal(size=(16, 16, 1)).astype(np.float32)
    transform = spatial.affine((16, 16), (16, 16), NONE, SEED)
    moved = spatial.warped(image, transform, tf.tile([[[2.0, -1.0]]], [16, 16, 1]))
    np.testing.assert_allclose(moved[:-2, 1:], image[2:, :-1], atol=1e-6)
