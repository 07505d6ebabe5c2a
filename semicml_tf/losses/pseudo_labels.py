"""A map cut to a label map from which another network, or another view, learns; no gradient goes through the cut."""

from __future__ import annotations

from keras import ops

from semicml_tf.losses.maps import check_maps
from semicml_tf.losses.supervised import binary_cross_entropy, pixel_cross_entropy
from semicml_tf.networks.precision import full_precision


def hard_label(p):
    """1.0 where p is above 0.5, else 0.0; same shape, no gradient."""
    return ops.stop_gradient(ops.cast(p > 0.5, full_precision(p.dtype)))


def cross_pseudo_supervision(p, q):
    """``BCE(p, 1[q > 0.5]) + BCE(q, 1[p > 0.5])`` (Chen et al., CVPR 2021, arXiv 2106.01226).

    p, q: (batch, height, width, 1). Returns (batch,) float32.
    """
    return binary_cross_entropy(p, hard_label(q)) + binary_cross_entropy(q, hard_label(p))


def confident_cross_entropy(p, q, confidence: float):
    """Mean over all pixels of ``BCE(p, 1[q > 0.5])``, counted as 0 where neither q nor 1 - q exceeds `confidence`.

    Sohn et al., NeurIPS 2020, arXiv 2001.07685 (FixMatch). p, q: (batch, height, width, 1). Returns (batch,) float32.
    """
    check_maps(p=p, q=q)
    sure = ops.stop_gradient(ops.cast(ops.maximum(q, 1.0 - q) > confidence, full_precision(q.dtype)))
    return ops.mean(sure * pixel_cross_entropy(p, hard_label(q)), axis=(1, 2, 3))
