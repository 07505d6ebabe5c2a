"""How unsure a map of foreground probabilities is."""

from __future__ import annotations

import math

from keras import ops

from semicml_tf.losses.maps import check_maps
from semicml_tf.losses.supervised import pixel_cross_entropy
from semicml_tf.networks.precision import full_precision


def binary_entropy(p):
    """Entropy of (p, 1 - p) over ln 2, by pixel: 1 at p = 0.5, 0 at certainty. p: (batch, height, width, 1).

    Returns the shape of p, float32.
    """
    return pixel_cross_entropy(p, p) / math.log(2.0)


def mean_entropy(p):
    """Mean over pixels of `binary_entropy`; p: (batch, height, width, 1). Returns (batch,) float32."""
    return ops.mean(binary_entropy(p), axis=(1, 2, 3))


def certain_squared_difference(p, q, uncertainty, threshold):
    """Mean of ``(p - q)^2`` over the pixels whose uncertainty is below the threshold; 0 if there is none.

    Yu et al., MICCAI 2019, arXiv 1907.07034 (UA-MT), without the two-channel form's factor 2. Coupled over the
    batch: a slice counts by its certain pixels.

    Args:
        p, q, uncertainty: (batch, height, width, 1) of the global batch.
        threshold: scalar.

    Returns:
        float32 scalar.
    """
    check_maps(p=p, q=q, uncertainty=uncertainty)
    full = full_precision(p.dtype)
    mask = ops.stop_gradient(ops.cast(ops.less(uncertainty, threshold), full))
    difference = ops.cast(p, full) - ops.cast(q, full)
    return ops.sum(mask * difference * difference) / ops.maximum(ops.sum(mask), 1.0)
