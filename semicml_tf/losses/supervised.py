"""Losses against hard or soft label maps."""

from __future__ import annotations

from keras import ops

from semicml_tf.losses.maps import background, check_maps, inner_axes, masked_mean
from semicml_tf.networks.precision import full_precision

# Keeps logarithms finite in float32, and is smaller than any relevant probability.
_TINY = 1e-7
EPSILON = 1e-6


def pixel_cross_entropy(p, y, *, exclusive: bool = False):
    """The cross entropy of each pixel.

    For each region, ``-(y log p + (1 - y) log(1 - p))``. For exclusive classes, ``-sum_k y_k log p_k`` including the
    background.

    Args:
        p, y: (batch, *space, classes). `y` may be soft.
        exclusive: whether the classes exclude each other.

    Returns:
        float32, the shape of `p` for regions, and (batch, *space, 1) for exclusive classes.
    """
    check_maps(p=p, y=y)
    full = full_precision(p.dtype)
    if exclusive:
        p, y = ops.cast(p, full), ops.cast(y, full)
        classes = ops.sum(y * ops.log(ops.clip(p, _TINY, 1.0)), axis=-1, keepdims=True)
        return -(classes + background(y) * ops.log(ops.clip(background(p), _TINY, 1.0)))
    p = ops.clip(ops.cast(p, full), _TINY, 1.0 - _TINY)
    y = ops.cast(y, p.dtype)
    return -(y * ops.log(p) + (1.0 - y) * ops.log(1.0 - p))


def cross_entropy(p, y, *, exclusive: bool = False):
    """Mean over pixels and regions of `pixel_cross_entropy`, with the same arguments. Returns (batch,) float32."""
    return ops.mean(pixel_cross_entropy(p, y, exclusive=exclusive), axis=inner_axes(p))


def batch_dice_loss(p, y, *, valid=None):
    """``1 - (2 sum(p y) + eps) / (sum(p^2) + sum(y^2) + eps)``, eps = 1e-6, as in the Semi-CML script.

    Coupled over the batch: the sums are over all pixels of all samples. A slice without foreground therefore adds no
    constant loss. Several classes are averaged.

    Args:
        p, y: (batch, *space, classes), of the global batch.
        valid: (batch, *space, 1) 0/1: pixels that count; None: all pixels. Weights in [0, 1] are allowed. Maps and
            labels are multiplied by them, so that the products count by squared weights.

    Returns:
        float32 scalar.
    """
    check_maps(p=p, y=y)
    p = ops.cast(p, full_precision(p.dtype))
    y = ops.cast(y, p.dtype)
    if valid is not None:
        check_maps(p=p[..., :1], valid=valid)
        valid = ops.cast(valid, p.dtype)
        p, y = p * valid, y * valid
    if p.shape[-1] == 1:
        overlap = 2.0 * ops.sum(p * y) + EPSILON
        return 1.0 - overlap / (ops.sum(p * p) + ops.sum(y * y) + EPSILON)
    pixels = tuple(range(len(p.shape) - 1))
    overlap = 2.0 * ops.sum(p * y, axis=pixels) + EPSILON
    return 1.0 - ops.mean(overlap / (ops.sum(p * p, axis=pixels) + ops.sum(y * y, axis=pixels) + EPSILON))


def segmentation_loss(p, y, *, bce_weight: float, dice_weight: float, exclusive: bool = False, valid=None):
    """``bce_weight * mean cross entropy + dice_weight * batch Dice loss``; coupled over the batch.

    Args:
        p, y: (batch, *space, classes), of the global batch.
        bce_weight: weight of the cross entropy.
        dice_weight: weight of the Dice loss.
        exclusive: see `pixel_cross_entropy`.
        valid: (batch, *space, 1) 0/1: pixels that count; None: all pixels. With weights in [0, 1], the cross entropy
            is a weighted mean; see also `batch_dice_loss`.

    Returns:
        float32 scalar.
    """
    if valid is None:
        mean = ops.mean(cross_entropy(p, y, exclusive=exclusive))
    else:
        mean = masked_mean(pixel_cross_entropy(p, y, exclusive=exclusive), valid)
    return bce_weight * mean + dice_weight * batch_dice_loss(p, y, valid=valid)
