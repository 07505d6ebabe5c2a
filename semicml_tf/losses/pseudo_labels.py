"""Hard pseudo-labels: thresholded maps from which another network or another view learns, without gradient."""

from __future__ import annotations

from keras import ops

from semicml_tf.losses.maps import background, check_maps, inner_axes, one_hot_of_largest
from semicml_tf.losses.supervised import cross_entropy, pixel_cross_entropy
from semicml_tf.networks.precision import full_precision


def hard_label(p, *, exclusive: bool = False):
    """1.0 where p > 0.5, or where an exclusive class is the most probable, else 0.0; without gradient.

    p: (batch, *space, classes). Returns the same shape.
    """
    p = ops.cast(p, full_precision(p.dtype))
    return ops.stop_gradient(one_hot_of_largest(p) if exclusive else ops.cast(p > 0.5, p.dtype))


def cross_pseudo_supervision(p, q, *, exclusive: bool = False):
    """``CE(p, hard(q)) + CE(q, hard(p))`` (Chen et al., CVPR 2021, arXiv 2106.01226).

    p, q: (batch, *space, classes). Returns (batch,) float32.
    """
    return cross_entropy(p, hard_label(q, exclusive=exclusive), exclusive=exclusive) + cross_entropy(
        q, hard_label(p, exclusive=exclusive), exclusive=exclusive
    )


def confident_cross_entropy(p, q, confidence: float, *, exclusive: bool = False):
    """Mean over all pixels of ``CE(p, hard(q))``, counted as 0 where no probability of q exceeds `confidence`.

    Sohn et al., NeurIPS 2020, arXiv 2001.07685 (FixMatch). The probabilities of a region are q and 1 - q. Those of
    exclusive classes include the background.

    p, q: (batch, *space, classes). Returns (batch,) float32.
    """
    check_maps(p=p, q=q)
    if exclusive:
        highest = ops.maximum(ops.max(q, axis=-1, keepdims=True), background(q))
    else:
        highest = ops.maximum(q, 1.0 - q)
    is_confident = ops.stop_gradient(ops.cast(highest > confidence, full_precision(q.dtype)))
    losses = pixel_cross_entropy(p, hard_label(q, exclusive=exclusive), exclusive=exclusive)
    return ops.mean(is_confident * losses, axis=inner_axes(losses))
