"""Opens a new SavedModel, and compares each signature with the network in memory."""

from __future__ import annotations

import pathlib

import numpy as np

from semicml_tf.artefact.manifest import (
    DEFAULT,
    EXAMPLES_NAME,
    INPUT_NAME,
    LABELS_NAME,
    MANIFEST,
    MANIFEST_NAME,
    OUTPUT_NAME,
    QUERIES_NAME,
    RAW,
    SERIALIZED,
    Manifest,
)
from semicml_tf.exporting import label_check, native_slices, slice_example
from semicml_tf.inference.exported_model import load

# Both run the same float32 graph. Only the order of summing may differ.
_TOLERANCE = 1e-5
# More than one, to test the batch axis, and not a power of 2.
_SLICES = 3


def tolerance(manifest: Manifest) -> float:
    """Largest accepted difference of probabilities: order of summing, and rounding to half precision below 1."""
    return _TOLERANCE + (2.0**-12 if manifest.probabilities_dtype == "float16" else 0.0)


def max_difference(network, saved: str | pathlib.Path, with_dropout=None) -> float:
    """Largest difference of probabilities between a network in memory and a SavedModel of it, over all signatures.

    Infinite if labels do not fit the probabilities, or if the manifest in the graph differs from the file.
    """
    model = load(saved)
    manifest = model.manifest
    slices = np.random.default_rng(0).uniform(-1, 1, (_SLICES, *manifest.patch.shape)).astype(np.float32)
    expected = np.asarray(network(slices, training=False))
    differences = [_apart(model.slices(slices), expected)]
    if with_dropout is not None:
        seeds = np.arange(_SLICES, dtype=np.int32)
        drawn = np.asarray(with_dropout([slices, seeds], training=False))
        differences.append(_apart(model.dropout_slices(slices, seeds), drawn))
    natives, normalised = native_slices.made_up(manifest, _SLICES)
    answers = [
        (model.call(DEFAULT, {INPUT_NAME: slices}), expected),
        (model.call(SERIALIZED, {EXAMPLES_NAME: [slice_example.encode(one) for one in slices]}), expected),
        (model.call(RAW, natives), np.asarray(network(normalised, training=False))),
    ]
    for answer, wanted in answers:
        if OUTPUT_NAME in answer:
            differences.append(_apart(answer[OUTPUT_NAME], wanted))
        if label_check.contradictions(answer[LABELS_NAME], wanted, manifest, _TOLERANCE).any():
            return float("inf")
    manifests = model.call(MANIFEST, {QUERIES_NAME: np.zeros(2, np.int32)})[MANIFEST_NAME]
    if [text.decode() for text in manifests] != [manifest.to_json()] * 2:
        return float("inf")
    # `np.max` keeps a NaN; the built-in `max` may lose it.
    return float(np.max(differences))


def _apart(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found.astype(np.float32) - expected).max())
