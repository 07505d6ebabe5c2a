"""Consistency of the maps of a network at several scales."""

from __future__ import annotations

import functools

from keras import ops

from semicml_tf.losses.maps import check_maps, masked_mean
from semicml_tf.losses.supervised import pixel_cross_entropy

# Avoids a division by 0: without valid pixels, the mean weight is 0.
_TINY = 1e-30


def pixel_divergence(q, p, *, exclusive: bool = False):
    """``KL(q || p)`` per pixel in nats, of regions or exclusive classes; q, p: (batch, *space, classes).

    Returns the shape of `q` for regions, and (batch, *space, 1) for exclusive classes.
    """
    check_maps(q=q, p=p)
    return pixel_cross_entropy(p, q, exclusive=exclusive) - pixel_cross_entropy(q, q, exclusive=exclusive)


def rectified_consistency(maps, *, exclusive: bool = False, valid=None):
    """Mean over the scales s, where m is the mean map and ``D_s = KL(m || p_s)`` per pixel, of::

        mean(exp(-D_s) (p_s - m)^2) / mean(exp(-D_s)) + mean(D_s)

    Luo et al., MICCAI 2021, arXiv 2012.07042 (URPC). Coupled over the batch: the means are over all pixels.

    Args:
        maps: a list of (batch, *space, classes), one per scale, of the global batch.
        exclusive: whether the classes exclude each other.
        valid: (batch, *space, 1) 0/1: pixels that count; None: all pixels.

    Returns:
        float32 scalar.
    """
    check_maps(**{f"maps[{number}]": value for number, value in enumerate(maps)})
    mean = sum(maps) / len(maps)
    mean_of = ops.mean if valid is None else functools.partial(masked_mean, valid=valid)
    values = []
    for p in maps:
        divergence = pixel_divergence(mean, p, exclusive=exclusive)
        weight = ops.exp(-divergence)
        weights = mean_of(weight) if valid is None else ops.maximum(mean_of(weight), _TINY)
        values.append(mean_of(weight * (p - mean) ** 2) / weights + mean_of(divergence))
    return sum(values) / len(values)
