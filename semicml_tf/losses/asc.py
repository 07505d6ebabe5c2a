"""The area-similarity contrastive (ASC) loss between two modalities' predictions."""

from __future__ import annotations

from keras import ops

from semicml_tf.losses.maps import by_class, check_maps, inner_axes
from semicml_tf.losses.supervised import EPSILON
from semicml_tf.networks.precision import full_precision

# A map is empty when no pixel of it is more likely foreground than not. A sigmoid never gives exact
# zeros, and by soft area a large map of 0.01 would count for as much as a small lesion.
EMPTY_BELOW = 0.5
# Exponent of what is left out of a sum: its exp is 0 in any precision.
_NEVER = -1e9


def similarity_matrix(maps, kind: str = "dice"):
    """Area similarity of every pair of maps, from one matrix product.

    ``dice``: ``s = (2 sum(a b) + eps) / (sum(a^2) + sum(b^2) + eps)``; ``iou``: ``s / (2 - s)``;
    ``cosine``: that of the flattened maps.

    Args:
        maps: (n, *space, 1): those of one class.

    Returns:
        (n, n) float32.
    """
    _check_one_class(maps)
    flat = ops.reshape(ops.cast(maps, full_precision(maps.dtype)), (ops.shape(maps)[0], -1))
    products = ops.matmul(flat, ops.transpose(flat))
    squares = ops.sum(flat * flat, axis=1)
    if kind == "cosine":
        norms = ops.sqrt(squares + EPSILON)
        return (products + EPSILON) / (ops.expand_dims(norms, 1) * ops.expand_dims(norms, 0))
    dice = (2.0 * products + EPSILON) / (ops.expand_dims(squares, 1) + ops.expand_dims(squares, 0) + EPSILON)
    return dice if kind == "dice" else dice / (2.0 - dice)


def asc_loss(
    maps_a,
    maps_b,
    patients=None,
    *,
    temperature: float = 1.0,
    similarity: str = "dice",
    negatives: str = "all",
    empty: str = "keep",
    slices=None,
):
    """Mean over the 2B maps of ``l_i``, with ``+`` the other modality's map of the same slice::

        l_i = -log( exp(s(z_i, z_+) / T) / (exp(s(z_i, z_+) / T) + sum_{k != i, +} exp(s(z_i, z_k) / T)) )

    Zhang et al., Medical Image Analysis 83 (2023) 102656, as a third-party copy of its training script
    computes it. Coupled over the batch: every map is a negative of every other, so it needs the global batch.
    Each class is contrasted by itself, with its own similarity, empty maps and anchors, and the loss is the mean over
    classes: a class that a slice lacks then says nothing about the classes that the slice has.

    Args:
        maps_a, maps_b: (B, *space, classes), the two modalities' predictions of the same B slices.
        patients: (B,) integers that tell patients apart; needed for ``negatives="other_patients"``.
        temperature: T.
        similarity: see `similarity_matrix`.
        negatives: ``all`` other maps, or only those of ``other_patients`` (neighbouring slices of a
            patient overlap for an honest reason).
        empty: ``keep`` treats maps without foreground as any other: two of them are nearly identical, so
            they are the negatives pushed apart hardest. ``skip``: such a map is nobody's negative, and a
            slice that is empty in both modalities is no anchor. A slice where one modality sees
            something stays an anchor, so the blind one still learns from the other.
        slices: (B,) 0/1: slices that have both maps; None: all of them. The loss is that of these slices alone.

    Returns:
        float32 scalar; 0 if no anchor is left.

    Raises:
        ValueError: the maps differ in shape, or `patients` is not (B,).
    """
    check_maps(maps_a=maps_a, maps_b=maps_b)
    if maps_a.shape[-1] > 1:
        how = {"temperature": temperature, "similarity": similarity, "negatives": negatives, "empty": empty}
        how["slices"] = slices
        losses = [asc_loss(a, b, patients, **how) for a, b in zip(by_class(maps_a), by_class(maps_b))]
        return sum(losses) / len(losses)
    maps = ops.concatenate([maps_a, maps_b], axis=0)
    scores = similarity_matrix(maps, similarity) / temperature
    is_positive, is_negative, anchors = relations(maps, patients, negatives=negatives, empty=empty, slices=slices)
    positive = ops.sum(ops.where(is_positive, scores, 0.0), axis=1)
    # l_i = log(1 + sum of exp((s_k - s_+) / T)), by logsumexp: finite at any temperature.
    against = ops.where(is_negative, scores - ops.expand_dims(positive, 1), _NEVER)
    losses = ops.logsumexp(ops.concatenate([ops.zeros_like(against[:, :1]), against], axis=1), axis=1)
    anchors = ops.cast(anchors, losses.dtype)
    return ops.sum(losses * anchors) / ops.maximum(ops.sum(anchors), 1.0)


def _check_one_class(maps) -> None:
    check_maps(maps=maps)
    if maps.shape[-1] != 1:
        raise ValueError(f"expected maps of one class, (n, *space, 1), got {tuple(maps.shape)}")


def sees_something(maps):
    """Which maps are not empty in every class: (n, *space, classes) -> (n,) bool."""
    return ops.max(maps, axis=inner_axes(maps)) >= EMPTY_BELOW


def relations(maps, patients=None, *, negatives: str = "all", empty: str = "keep", slices=None):
    """Who is whose positive, who whose negative, and who is an anchor; arguments as for `asc_loss`.

    Args:
        maps: (2B, *space, 1), one modality's maps of B slices and one class, then the other's.

    Returns:
        ``(positive, negative, anchors)``: bool, (2B, 2B) with a row for each anchor, likewise, and (2B,).
    """
    _check_one_class(maps)
    total = ops.shape(maps)[0]
    rows = ops.arange(total)
    partner = ops.mod(rows + total // 2, total)
    is_self = ops.equal(ops.expand_dims(rows, 1), ops.expand_dims(rows, 0))
    is_positive = ops.equal(ops.expand_dims(partner, 1), ops.expand_dims(rows, 0))
    is_negative = ops.logical_not(ops.logical_or(is_self, is_positive))
    if negatives == "other_patients":
        # A column would broadcast, and every map would be a negative of its own patient's.
        if patients is None or len(patients.shape) != 1:
            shape = None if patients is None else tuple(patients.shape)
            raise ValueError(f"expected the patients of the slices, of shape (B,), got {shape}")
        owner = ops.concatenate([patients, patients], axis=0)
        is_negative = ops.logical_and(is_negative, ops.not_equal(ops.expand_dims(owner, 1), ops.expand_dims(owner, 0)))
    anchors = ops.ones((total,), "bool")
    if empty == "skip":
        sees = sees_something(maps)
        is_negative = ops.logical_and(is_negative, ops.expand_dims(sees, 0))
        anchors = ops.logical_or(sees, ops.take(sees, partner, axis=0))
    if slices is not None:
        counts = ops.cast(ops.concatenate([slices, slices], axis=0), "bool")
        is_negative = ops.logical_and(is_negative, ops.expand_dims(counts, 0))
        anchors = ops.logical_and(anchors, counts)
    return is_positive, is_negative, anchors
