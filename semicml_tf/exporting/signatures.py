"""The signatures of a published network as TensorFlow functions; the manifest gives names, types and shapes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from semicml_tf.artefact.manifest import (
    DEFAULT,
    LABEL_OF_NAN,
    LABELS_NAME,
    MANIFEST,
    MANIFEST_NAME,
    MAX_QUERIES,
    MONTE_CARLO,
    OUTPUT_NAME,
    PROBABILITIES,
    RAW,
    SERIALIZED,
    Manifest,
)
from semicml_tf.exporting import slice_example


def functions(network, manifest: Manifest, with_dropout=None) -> dict[str, Callable]:
    """The signatures by name.

    Args:
        network: `keras.Model`, (batch, *space, channels) float32 -> probabilities (batch, *space, classes).
        manifest: inputs and outputs of the signatures; the signature `manifest` returns its JSON.
        with_dropout: `keras.Model` of the same weights and a second input, the slices' seeds (batch,) int32; for
            the signature `monte_carlo`, which exists if the manifest says so.
    """
    import tensorflow as tf

    declared = manifest.signatures

    def specs(name: str) -> list:
        inputs = declared[name]["inputs"]
        return [tf.TensorSpec(one["shape"], one["dtype"], name=key) for key, one in inputs.items()]

    def whole(found):
        return tf.ensure_shape(tf.cast(found, tf.float32), (None, *manifest.patch.spatial, manifest.classes))

    # Traced once and called by all signatures. Otherwise each signature would have a graph of its own.
    @tf.function(input_signature=specs(PROBABILITIES))
    def network_of(slices):
        return whole(network(slices, training=False))

    def soft(found) -> dict[str, Any]:
        return {OUTPUT_NAME: tf.cast(found, manifest.probabilities_dtype)}

    def hard(found) -> dict[str, Any]:
        # From the float32 probabilities, even if the output of probabilities is rounded.
        if manifest.labels.exclusive:
            largest = tf.reduce_max(found, -1, keepdims=True)
            best = tf.cast(tf.argmax(found, -1)[..., tf.newaxis] + 1, tf.uint8)
            # The background has what is left to 1.
            labels = tf.where(largest > 1 - tf.reduce_sum(found, -1, keepdims=True), best, tf.zeros_like(best))
        else:
            labels = tf.cast(found >= [manifest.thresholds[name] for name in manifest.labels.names], tf.uint8)
        is_nan = tf.reduce_any(tf.math.is_nan(found), -1, keepdims=True)
        return {LABELS_NAME: tf.where(is_nan, tf.constant(LABEL_OF_NAN, tf.uint8), labels)}

    def both(found) -> dict[str, Any]:
        return hard(found) | soft(found)

    @tf.function(input_signature=specs(DEFAULT))
    def serving_default(slices):
        return hard(network_of(slices))

    @tf.function(input_signature=specs(PROBABILITIES))
    def probabilities(slices):
        return soft(network_of(slices))

    def one_batch(slices, *others):
        # Without this check, broadcasting would repeat one slice.
        for other in others:
            tf.debugging.assert_equal(tf.shape(other)[0], tf.shape(slices)[0], "expected inputs of one batch size")

    def normalised(slices, low, high, center, scale):
        # Equals `normalisation.Constants.apply`. `minimum` and `maximum` may lose a NaN; `where` keeps it.
        clipped = tf.where(slices < low, low, tf.where(slices > high, high, slices))
        return (clipped - center) / scale

    if manifest.takes_constants:

        @tf.function(input_signature=specs(RAW))
        def raw(slices, low, high, center, scale):
            one_batch(slices, low, high, center, scale)
            each = (tf.reshape(value, (-1, *(1 for _ in manifest.patch.shape))) for value in (low, high, center, scale))
            return both(network_of(normalised(slices, *each)))

    else:
        constants = dataclasses.astuple(manifest.normalisation.fixed)

        @tf.function(input_signature=specs(RAW))
        def raw(slices):
            return both(network_of(normalised(slices, *constants)))

    @tf.function(input_signature=specs(SERIALIZED))
    def serialized(examples):
        return both(network_of(slice_example.parse_in_graph(examples, manifest.patch)))

    text = manifest.to_json()

    @tf.function(input_signature=specs(MANIFEST))
    def its_manifest(queries):
        # A query has four bytes, an answer six thousand.
        tf.debugging.assert_less_equal(tf.size(queries), MAX_QUERIES, f"expected at most {MAX_QUERIES} queries")
        return {MANIFEST_NAME: tf.fill(tf.shape(queries), text)}

    made = {
        DEFAULT: serving_default,
        PROBABILITIES: probabilities,
        RAW: raw,
        SERIALIZED: serialized,
        MANIFEST: its_manifest,
    }
    if manifest.monte_carlo:

        @tf.function(input_signature=specs(MONTE_CARLO))
        def monte_carlo(slices, seeds):
            one_batch(slices, seeds)
            return soft(whole(with_dropout([slices, seeds], training=False)))

        made[MONTE_CARLO] = monte_carlo
    return made
