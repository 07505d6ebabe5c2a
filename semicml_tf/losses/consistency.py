"""Agreement of two predictions of the same slices."""

from __future__ import annotations

from keras import ops

from semicml_tf.losses.asc import EMPTY_BELOW
from semicml_tf.losses.maps import check_maps, inner_axes
from semicml_tf.networks.precision import full_precision


def squared_difference(p, q):
    """Mean over pixels and classes of ``(p - q)^2``; p, q: (batch, *space, classes). Returns (batch,) float32."""
    check_maps(p=p, q=q)
    full = full_precision(p.dtype)
    difference = ops.cast(p, full) - ops.cast(q, full)
    return ops.mean(difference * difference, axis=inner_axes(difference))


def seen_by_either(p, q):
    """1.0 for slices in which at least one map has foreground of any class, else 0.0.

    Without this weight, agreement on low probabilities would lead to empty maps.

    p, q: (batch, *space, classes). Returns (batch,) float32, without gradient.
    """
    check_maps(p=p, q=q)
    peak = ops.maximum(ops.max(p, axis=inner_axes(p)), ops.max(q, axis=inner_axes(q)))
    return ops.stop_gradient(ops.cast(peak >= EMPTY_BELOW, full_precision(p.dtype)))


def mutual_squared_difference(p, q):
    """``((p - sg q)^2 + (sg p - q)^2) / 2``, mean over pixels. Returns (batch,) float32.

    sg stops the gradient, so that each map moves towards the other. p, q: (batch, *space, classes).
    """
    return 0.5 * (squared_difference(p, ops.stop_gradient(q)) + squared_difference(ops.stop_gradient(p), q))
