"""Losses against a label map, hard or soft."""

from __future__ import annotations

from keras import ops

from semicml_tf.losses.maps import check_maps
from semicml_tf.networks.precision import full_precision

# Keeps logarithms finite in float32; smaller than any probability that matters.
_TINY = 1e-7
EPSILON = 1e-6


def pixel_cross_entropy(p, y):
    """``-(y log p + (1 - y) log(1 - p))`` by pixel; p, y: (batch, height, width, 1), as the result. `y` may be soft."""
    check_maps(p=p, y=y)
    p = ops.clip(ops.cast(p, full_precision(p.dtype)), _TINY, 1.0 - _TINY)
    y = ops.cast(y, p.dtype)
    return -(y * ops.log(p) + (1.0 - y) * ops.log(1.0 - p))


def binary_cross_entropy(p, y):
    """Mean over pixels of `pixel_cross_entropy`; p, y: (batch, height, width, 1). Returns (batch,) float32."""
    return ops.mean(pixel_cross_entropy(p, y), axis=(1, 2, 3))


def batch_dice_loss(p, y):
    """``1 - (2 sum(p y) + eps) / (sum(p^2) + sum(y^2) + eps)``, eps = 1e-6 (the Semi-CML script's Dice).

    Coupled over the batch: the sums run over all pixels of all samples, so that a slice without
    foreground costs nothing beside one that has some.

    Args:
        p, y: (batch, height, width, 1), of the global batch.

    Returns:
        float32 scalar.
    """
    check_maps(p=p, y=y)
    p = ops.cast(p, full_precision(p.dtype))
    y = ops.cast(y, p.dtype)
    overlap = 2.0 * ops.sum(p * y) + EPSILON
    return 1.0 - overlap / (ops.sum(p * p) + ops.sum(y * y) + EPSILON)


def segmentation_loss(p, y, *, bce_weight: float, dice_weight: float):
    """``bce_weight * mean BCE + dice_weight * batch Dice loss``; coupled over the batch. Returns a scalar."""
    return bce_weight * ops.mean(binary_cross_entropy(p, y)) + dice_weight * batch_dice_loss(p, y)
