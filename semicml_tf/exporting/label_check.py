"""Compares the labels that a model answers with its probabilities."""

from __future__ import annotations

import numpy as np

from semicml_tf.artefact.manifest import Manifest


def contradictions(labels: np.ndarray, probabilities: np.ndarray, manifest: Manifest, rounding: float) -> np.ndarray:
    """Where labels are not those of the probabilities.

    Labels are computed before probabilities are rounded. Next to a decision, either label is therefore right.

    Args:
        labels: uint8 (batch, height, width, regions), or (batch, height, width, 1) of exclusive classes.
        probabilities: (batch, height, width, classes).
        rounding: largest error of a probability.

    Returns:
        bool of the shape of `labels`.
    """
    soft = probabilities.astype(np.float64)
    if not manifest.labels.exclusive:
        thresholds = np.array([np.float32(manifest.thresholds[name]) for name in manifest.labels.names], np.float64)
        return (labels != (soft >= thresholds)) & (np.abs(soft - thresholds) > rounding)
    classes = soft.shape[-1]
    # The background's probability sums the errors of all classes.
    everything = np.concatenate([1.0 - soft.sum(axis=-1, keepdims=True), soft], axis=-1)
    chosen = np.take_along_axis(everything, np.minimum(labels, classes).astype(np.intp), axis=-1)
    return (labels > classes) | (chosen < everything.max(axis=-1, keepdims=True) - (classes + 1) * rounding)
