"""Entropy of probability maps, and consistency weighted by uncertainty."""

from __future__ import annotations

import math

from keras import ops

from semicml_tf.losses.maps import check_maps, inner_axes, masked_mean
from semicml_tf.losses.supervised import pixel_cross_entropy
from semicml_tf.networks.precision import full_precision


def pixel_entropy(p, *, exclusive: bool = False):
    """The normalised entropy of each pixel: 0 if certain, 1 if all outcomes are equally likely.

    The entropy of a region (p, 1 - p) is divided by ln 2. That of K exclusive classes and the background is divided by
    ln(K + 1).

    Args:
        p: (batch, *space, classes).
        exclusive: whether the classes exclude each other.

    Returns:
        float32, the shape of `p` for regions, and (batch, *space, 1) for exclusive classes.
    """
    return pixel_cross_entropy(p, p, exclusive=exclusive) / math.log(p.shape[-1] + 1.0 if exclusive else 2.0)


def mean_entropy(p, *, exclusive: bool = False):
    """Mean over pixels of `pixel_entropy`; p: (batch, *space, classes). Returns (batch,) float32."""
    return ops.mean(pixel_entropy(p, exclusive=exclusive), axis=inner_axes(p))


def certain_squared_difference(p, q, uncertainty, threshold, *, valid=None):
    """Mean of ``(p - q)^2`` over the pixels whose uncertainty is below the threshold; 0 if there is none.

    Yu et al., MICCAI 2019, arXiv 1907.07034 (UA-MT), without the factor 2 of the form with two channels. Coupled
    over the batch: a slice counts by the number of its certain pixels.

    Args:
        p, q: (batch, *space, classes) of the global batch.
        uncertainty: of the same shape, or (batch, *space, 1) for all classes of a pixel.
        threshold: scalar.
        valid: (batch, *space, 1) 0/1: pixels that count; None: all pixels.

    Returns:
        float32 scalar.
    """
    check_maps(p=p, q=q)
    check_maps(p=p if uncertainty.shape[-1] != 1 else p[..., :1], uncertainty=uncertainty)
    full = full_precision(p.dtype)
    mask = ops.stop_gradient(ops.cast(ops.less(uncertainty, threshold), full))
    mask = mask if valid is None else mask * ops.cast(valid, full)
    difference = ops.cast(p, full) - ops.cast(q, full)
    if uncertainty.shape[-1] != p.shape[-1]:
        return masked_mean(difference * difference, mask)
    return ops.sum(mask * difference * difference) / ops.maximum(ops.sum(mask), 1.0)
