"""The U-Net's shape and the random numbers of its dropout."""

import numpy as np
import pytest

from semicml_tf.networks import sample_noise
from tests.support.networks import unet


def _parameters(width):
    """Counted by hand: 3x3 convolutions with normalisation (2 trained a channel), 2x2 transposed ones, 1x1."""
    total, previous = 0, 1
    widths = [width * 2**level for level in range(5)]
    for w in widths:
        total += 9 * previous * w + 2 * w + 9 * w * w + 2 * w
        previous = w
    for w in reversed(widths[:-1]):
        total += 4 * (2 * w) * w + w
        total += 9 * 2 * w * w + 2 * w + 9 * w * w + 2 * w
    return total + width + 1


@pytest.mark.parametrize("width", [4, 32])
def test_parameters_are_those_of_the_method(width):
    network = unet(32, width, name="ct")
    assert sum(int(np.prod(v.shape)) for v in network.trainable_variables) == _parameters(width)
    filters = [network.get_layer(f"encoder{level}a_conv").filters for level in range(5)]
    assert filters == [width * 2**level for level in range(5)]


def test_normalisation_follows_the_script_not_keras_defaults():
    layer = unet(16, 2, name="ct").get_layer("encoder0a_norm")
    assert (layer.momentum, layer.epsilon) == (0.9, 1e-5)


def test_noise_is_uniform_normal_and_a_function_of_each_samples_seed():
    seeds = np.array([5, 6, 7, 8], np.int32)
    numbers = np.asarray(sample_noise.uniform(seeds, (64, 64, 4), 3))
    assert abs(numbers.mean() - 0.5) < 0.005 and abs(numbers.var() - 1 / 12) < 0.002
    assert 0.0 <= numbers.min() and numbers.max() < 1.0
    np.testing.assert_array_equal(numbers[2:], np.asarray(sample_noise.uniform(seeds[2:], (64, 64, 4), 3)))
    correlation = np.corrcoef(numbers.reshape(4, -1)) - np.eye(4)
    assert np.abs(correlation).max() < 0.03
    assert abs(np.corrcoef(numbers[0].ravel()[:-1], numbers[0].ravel()[1:])[0, 1]) < 0.03
    other_salt = np.asarray(sample_noise.uniform(seeds, (64, 64, 4), 4))
    assert abs(np.corrcoef(numbers.ravel(), other_salt.ravel())[0, 1]) < 0.02
    gauss = np.asarray(sample_noise.normal(seeds, (64, 64, 4), 3))
    assert abs(gauss.mean()) < 0.02 and abs(gauss.std() - 1) < 0.02


def test_dropout_keeps_the_mean_and_drops_the_share():
    x = np.ones((2, 64, 64, 8), np.float32)
    y = np.asarray(sample_noise.SampleDropout(0.3, salt=0)([x, np.array([1, 2], np.int32)]))
    assert abs((y == 0).mean() - 0.3) < 0.01 and abs(y.mean() - 1.0) < 0.02
    np.testing.assert_allclose(y[y > 0], 1 / 0.7, rtol=1e-6)
