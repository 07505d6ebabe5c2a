"""Intensities of augmentation: each modality's values vary on their own.

Ranges are those of nnU-Net version 2 (`nnUNetTrainer.get_training_transforms`) and of TorchIO. Values are normalised:
no change relies on their zero. The order is that of a scanner: bias field, contrast, resolution, noise.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from semicml_tf.input.augmentation import Augmentation
from semicml_tf.input.seeds import seed_for

# Of TorchIO's RandomBiasField: a polynomial of order 3, and its coefficients' range.
_BIAS_ORDER, _BIAS_COEFFICIENT = 3, 0.5
# Of nnU-Net: gamma, of which a quarter on inverted values; sigma of the blur in pixels; and scale of the resolution.
_GAMMA, _INVERTED = (0.7, 1.5), 0.25
_SIGMA, _RADIUS = (0.5, 1.0), 3
_SCALE = (0.5, 1.0)
_SMALL = 1e-7


def varied(image, augmentation: Augmentation, seed, *, has_unit: bool = True):
    """One modality's window with other intensities.

    Args:
        image: (rows, columns, channels) float32, normalised values.
        seed: (2,) int32, of this modality alone.
        has_unit: whether values are HU or SUV. A bias field is an artefact of MR, whose values have no unit.

    Returns:
        The shape of `image`.
    """
    changes = (
        (0.0 if has_unit else augmentation.bias_field, bias_field),
        (augmentation.gamma, gamma),
        (augmentation.blur, blur),
        (augmentation.low_resolution, low_resolution),
    )
    for probability, change in changes:
        if probability:
            image = _sometimes(probability, change, image, seed_for(change.__name__, seed))
    return _scaled_and_noisy(image, augmentation, seed)


def _sometimes(probability: float, change: Callable, image, seed):
    chosen = tf.random.stateless_uniform([], seed_for("chosen", seed)) < probability
    return tf.cond(chosen, lambda: tf.ensure_shape(change(image, seed), image.shape), lambda: image)


def bias_field(image, seed):
    """Multiplies values by a smooth field, the exponential of a polynomial in the position.

    As TorchIO's RandomBiasField, with order 3 and coefficients uniform in ± 0.5, but without a constant term. The
    field acts on the difference from the window's lowest value, since z-scores have no zero of the scanner.
    """
    rows, columns = (tf.linspace(-1.0, 1.0, size) for size in image.shape[:2])
    powers = [
        (rows**first)[:, tf.newaxis] * (columns**second)[tf.newaxis]
        for first in range(_BIAS_ORDER + 1)
        for second in range(_BIAS_ORDER + 1 - first)
        if first or second
    ]
    coefficients = tf.random.stateless_uniform([len(powers)], seed, -_BIAS_COEFFICIENT, _BIAS_COEFFICIENT)
    field = tf.exp(tf.tensordot(coefficients, tf.stack(powers), 1))[..., tf.newaxis]
    lowest = tf.reduce_min(image)
    return lowest + (image - lowest) * field


def gamma(image, seed):
    """Raises the window's values, as fractions of their range, to a power, and keeps their mean and deviation.

    As nnU-Net's GammaTransform with retained statistics: the power lies in 0.7 to 1 or in 1 to 1.5, with equal
    probability. A quarter of the windows is inverted before, and inverted back.
    """
    draws = tf.random.stateless_uniform([3], seed)
    low, high = _GAMMA
    power = tf.where(draws[0] < 0.5, low + (1.0 - low) * draws[1], 1.0 + (high - 1.0) * draws[1])
    sign = tf.where(draws[2] < _INVERTED, -1.0, 1.0)
    values = sign * image
    lowest = tf.reduce_min(values)
    span = tf.reduce_max(values) - lowest
    curved = ((values - lowest) / (span + _SMALL)) ** power
    ratio = tf.math.reduce_std(values) / (tf.math.reduce_std(curved) + _SMALL)
    return sign * ((curved - tf.reduce_mean(curved)) * ratio + tf.reduce_mean(values))


def blur(image, seed):
    """Smooths by a Gaussian of a sigma of 0.5 to 1 pixel, as nnU-Net does; mirrored at the border."""
    sigma = tf.random.stateless_uniform([], seed, *_SIGMA)
    places = tf.range(-_RADIUS, _RADIUS + 1, dtype=tf.float32)
    kernel = tf.exp(-0.5 * (places / sigma) ** 2)
    kernel /= tf.reduce_sum(kernel)
    # Each channel is an image of its own.
    images = tf.transpose(image, [2, 0, 1])[..., tf.newaxis]
    margin = [_RADIUS, _RADIUS]
    images = tf.pad(images, [[0, 0], margin, margin, [0, 0]], "SYMMETRIC")
    images = tf.nn.conv2d(images, tf.reshape(kernel, [-1, 1, 1, 1]), 1, "VALID")
    images = tf.nn.conv2d(images, tf.reshape(kernel, [1, -1, 1, 1]), 1, "VALID")
    return tf.transpose(images[..., 0], [1, 2, 0])


def low_resolution(image, seed):
    """Samples the nearest pixels at 0.5 to 1 of the resolution, then back by bicubic interpolation, as nnU-Net does."""
    size = image.shape[:2]
    scale = tf.random.stateless_uniform([], seed, *_SCALE)
    coarse = tf.maximum(tf.cast(tf.round(scale * [float(side) for side in size]), tf.int32), 1)
    return tf.image.resize(tf.image.resize(image, coarse, "nearest"), size, "bicubic")


def _scaled_and_noisy(image, augmentation: Augmentation, seed):
    if not (augmentation.gain or augmentation.offset or augmentation.noise):
        return image
    draws = tf.random.stateless_uniform([3], seed, minval=-1.0, maxval=1.0)
    noise = tf.random.stateless_normal(tf.shape(image), seed_for("noise", seed))
    scaled = image * (1.0 + augmentation.gain * draws[0]) + augmentation.offset * draws[1]
    return scaled + augmentation.noise * tf.abs(draws[2]) * noise
