"""How alike the modalities' maps are, and what the contrastive loss pushes apart: scalars to log of a step."""

from __future__ import annotations

from typing import Any

from keras import ops

from semicml_tf.losses.asc import relations, sees_something, similarity_matrix
from semicml_tf.methods.catalogue import MethodSettings


def _mean(values, where):
    return ops.sum(ops.where(where, values, 0.0)) / ops.maximum(ops.sum(ops.cast(where, values.dtype)), 1.0)


def scalars(first, second, patients, settings: MethodSettings) -> dict[str, Any]:
    """What two networks make of the same unlabelled slices.

    Args:
        first, second: their maps, (batch, h, w, 1).
        patients: (batch,) integers that tell patients apart.
        settings: similarity, negatives and empty-map rule as in the loss.

    Returns:
        ``seen_by_both``, ``seen_by_one``: shares of the slices in which both networks, or one alone, have a pixel of at
        least 0.5. ``alike``: mean similarity of a slice's two maps over the loss's anchors; ``apart``: mean similarity
        of an anchor and its negatives. Both 0 where there is no anchor or no negative.
    """
    first, second = ops.stop_gradient(first), ops.stop_gradient(second)
    sees = [ops.cast(sees_something(maps), "float32") for maps in (first, second)]
    both = sees[0] * sees[1]
    maps = ops.concatenate([first, second], axis=0)
    scores = similarity_matrix(maps, settings.asc_similarity)
    positive, negative, anchors = relations(maps, patients, negatives=settings.asc_negatives, empty=settings.asc_empty)
    anchors = ops.expand_dims(anchors, 1)
    return {
        "seen_by_both": ops.mean(both),
        "seen_by_one": ops.mean(sees[0] + sees[1] - 2.0 * both),
        "alike": _mean(scores, ops.logical_and(positive, anchors)),
        "apart": _mean(scores, ops.logical_and(negative, anchors)),
    }
