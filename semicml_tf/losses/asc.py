"""The area-similarity contrastive (ASC) loss between two modalities' predictions."""

from __future__ import annotations

from keras import ops

from semicml_tf.losses.maps import by_class, check_maps, inner_axes
from semicml_tf.losses.supervised import EPSILON
from semicml_tf.networks.precision import full_precision

# A map is empty if no pixel has at least this probability. The soft area cannot decide: a sigmoid is never exactly 0,
# and a large map of 0.01 has the area of a small lesion.
EMPTY_BELOW = 0.5
# Exponent of excluded terms of a sum: the exponential is 0 in any precision.
_NEVER = -1e9


def similarity_matrix(maps, kind: str = "dice"):
    """Area similarity of all pairs of maps, by one matrix product.

    ``dice``: ``s = (2 sum(a b) + eps) / (sum(a^2) + sum(b^2) + eps)``; ``iou``: ``s / (2 - s)``;
    ``cosine``: cosine of the flattened maps.

    Args:
        maps: (n, *space, 1), of one class.
        kind: ``dice``, ``iou`` or ``cosine``.

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
    """Mean over the 2B maps of ``l_i``, where ``+`` is the map of the same slice in the other modality::

        l_i = -log( exp(s(z_i, z_+) / T) / (exp(s(z_i, z_+) / T) + sum_{k != i, +} exp(s(z_i, z_k) / T)) )

    Zhang et al., Medical Image Analysis 83 (2023) 102656, by a third-party copy of its training script. Coupled over
    the batch, because each map is a negative of all others.

    The loss is the mean over classes. Each class has its own similarities, empty maps and anchors, so that classes
    that are missing in a slice do not affect the other classes.

    Args:
        maps_a, maps_b: (B, *space, classes), predictions of two modalities on the same B slices.
        patients: (B,) integers that identify patients; needed for ``negatives="other_patients"``.
        temperature: T.
        similarity: see `similarity_matrix`.
        negatives: ``all`` other maps, or only those of ``other_patients``, because neighbouring slices of a patient
            are similar.
        empty: ``keep`` treats maps without foreground like all others. Pairs of them are nearly identical, and are
            therefore pushed apart most. ``skip``: a map without foreground is never used as a negative. Its slice is
            an anchor only if the other modality has foreground, so that the modality without foreground learns.
        slices: (B,) 0/1: slices that have both maps and count in the loss; None: all slices.

    Returns:
        float32 scalar; 0 if no anchor is left.

    Raises:
        ValueError: the maps differ in shape, or `patients` is not (B,).
    """
    check_maps(maps_a=maps_a, maps_b=maps_b)
    if maps_a.shape[-1] > 1:
        options = {"temperature": temperature, "similarity": similarity, "negatives": negatives, "empty": empty}
        options["slices"] = slices
        losses = [asc_loss(a, b, patients, **options) for a, b in zip(by_class(maps_a), by_class(maps_b))]
        return sum(losses) / len(losses)
    maps = ops.concatenate([maps_a, maps_b], axis=0)
    scores = similarity_matrix(maps, similarity) / temperature
    is_positive, is_negative, anchors = relations(maps, patients, negatives=negatives, empty=empty, slices=slices)
    positive = ops.sum(ops.where(is_positive, scores, 0.0), axis=1)
    # l_i = log(1 + sum of exp((s_k - s_+) / T)), by logsumexp, which is finite at any temperature.
    against = ops.where(is_negative, scores - ops.expand_dims(positive, 1), _NEVER)
    losses = ops.logsumexp(ops.concatenate([ops.zeros_like(against[:, :1]), against], axis=1), axis=1)
    anchors = ops.cast(anchors, losses.dtype)
    return ops.sum(losses * anchors) / ops.maximum(ops.sum(anchors), 1.0)


def _check_one_class(maps) -> None:
    check_maps(maps=maps)
    if maps.shape[-1] != 1:
        raise ValueError(f"expected maps of one class, (n, *space, 1), got {tuple(maps.shape)}")


def sees_something(maps):
    """Whether maps have foreground of any class: (n, *space, classes) -> (n,) bool."""
    return ops.max(maps, axis=inner_axes(maps)) >= EMPTY_BELOW


def relations(maps, patients=None, *, negatives: str = "all", empty: str = "keep", slices=None):
    """Positives, negatives and anchors of the loss. For the arguments, see `asc_loss`.

    Args:
        maps: (2B, *space, 1), maps of one class: those of B slices in one modality, then in the other.

    Returns:
        ``(positive, negative, anchors)``, bool: (2B, 2B) with a row per anchor, (2B, 2B), and (2B,).
    """
    _check_one_class(maps)
    total = ops.shape(maps)[0]
    rows = ops.arange(total)
    partner = ops.mod(rows + total // 2, total)
    is_self = ops.equal(ops.expand_dims(rows, 1), ops.expand_dims(rows, 0))
    is_positive = ops.equal(ops.expand_dims(partner, 1), ops.expand_dims(rows, 0))
    is_negative = ops.logical_not(ops.logical_or(is_self, is_positive))
    if negatives == "other_patients":
        # Patients of shape (B, 1) would broadcast to wrong negatives.
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
