"""Scalars to log about the contrastive loss: similarities of maps between modalities and between negatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras import ops

from semicml_tf.losses.asc import relations, sees_something, similarity_matrix
from semicml_tf.losses.maps import by_class
from semicml_tf.methods.catalogue import MethodSettings
from semicml_tf.methods.modality_pairs import mean_over_pairs
from semicml_tf.methods.presence import Present, counted, slices_with


def _mean(values, where):
    return ops.sum(ops.where(where, values, 0.0)) / ops.maximum(ops.sum(ops.cast(where, values.dtype)), 1.0)


def scalars(maps: Mapping[str, Any], patients, settings: MethodSettings, present: Present = None) -> dict[str, Any]:
    """Compares what the networks predict on the same unlabelled slices.

    Args:
        maps: maps (batch, *space, classes) by modality, of at least two modalities.
        patients: (batch,) integers that identify the patients.
        settings: similarity, negatives and empty-map rule as in the loss.
        present: the slices that have a modality, by modality; None: all slices. A pair counts slices that have both.

    Returns:
        Scalars, each a mean over all pairs of modalities. ``seen_by_both`` and ``seen_by_one``: fractions of the slices
        in which both networks of a pair, or only one of them, have a pixel of at least 0.5. ``alike``: mean similarity
        of a slice's two maps over the anchors of the loss. ``apart``: mean similarity of an anchor and its negatives.
        ``alike`` is 0 without an anchor, and ``apart`` is 0 without a negative. Both are means over the classes.
    """
    return mean_over_pairs(
        list(maps),
        lambda one, other: _of_pair(maps[one], maps[other], patients, settings, slices_with(present, one, other)),
    )


def _of_pair(first, second, patients, settings: MethodSettings, slices) -> dict[str, Any]:
    first, second = ops.stop_gradient(first), ops.stop_gradient(second)
    foreground = [ops.cast(sees_something(maps), "float32") for maps in (first, second)]
    both = foreground[0] * foreground[1]
    pairs = list(zip(by_class(first), by_class(second)))
    contrasts = [_contrast(ops.concatenate(pair, axis=0), patients, settings, slices) for pair in pairs]
    return {
        "seen_by_both": ops.mean(counted(both, slices)),
        "seen_by_one": ops.mean(counted(foreground[0] + foreground[1] - 2.0 * both, slices)),
        **{name: sum(contrast[name] for contrast in contrasts) / len(contrasts) for name in contrasts[0]},
    }


def _contrast(maps, patients, settings: MethodSettings, slices) -> dict[str, Any]:
    """The mean similarity of positives and of negatives, of the maps of one class."""
    scores = similarity_matrix(maps, settings.asc_similarity)
    positive, negative, anchors = relations(
        maps, patients, negatives=settings.asc_negatives, empty=settings.asc_empty, slices=slices
    )
    anchors = ops.expand_dims(anchors, 1)
    return {
        "alike": _mean(scores, ops.logical_and(positive, anchors)),
        "apart": _mean(scores, ops.logical_and(negative, anchors)),
    }
