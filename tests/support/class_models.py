"""Networks of several classes whose answers are known: the classes are ranges of the normalised CT value."""

from __future__ import annotations

import dataclasses

import numpy as np

from semicml_tf.artefact.manifest import Manifest
from semicml_tf.labels import SOFTMAX, LabelDefinition
from semicml_tf.networks.spec import NetworkSpec
from tests.support import threshold_model

# `core` lies inside `whole`; each has its own threshold.
REGIONS = LabelDefinition({"whole": (1, 2), "core": (2,)})
EXCLUSIVE = LabelDefinition({"fat": (3,), "water": (300,), "bone": (2, 7)}, SOFTMAX)
LEVELS = {"whole": -49.3, "core": 149.3}
# The class whose centre is nearest is the most likely one; the background's is the first.
CENTRES = (-0.9, -0.3, 0.3, 0.9)
_STEEPNESS = 400.0


def manifest(labels: LabelDefinition, *, modality: str = "ct", window: int = 16, **changes) -> Manifest:
    """The manifest of the network of `labels`."""
    thresholds = {} if labels.exclusive else dict(zip(labels.names, (0.3, 0.6)))
    made = threshold_model.manifest(modality, window=window)
    return dataclasses.replace(made, labels=labels, thresholds=thresholds, **changes)


def _normalised(level: float) -> float:
    return (level - 50) / 250


def _lines(labels: LabelDefinition) -> tuple[np.ndarray, np.ndarray]:
    """Weights and biases of the channels before the activation; of exclusive classes, the background's is the first."""
    if labels.exclusive:
        centres = np.array(CENTRES, np.float64)
        return _STEEPNESS * centres, -_STEEPNESS * centres**2 / 2
    levels = np.array([_normalised(LEVELS[name]) for name in labels.names])
    return np.full(len(levels), _STEEPNESS), -_STEEPNESS * levels


def network(labels: LabelDefinition, *, modality: str = "ct", window: int = 16):
    """The network as a `keras.Model`."""
    import keras

    weights, biases = _lines(labels)
    slices = keras.Input((window, window, 1), name="slices")
    activation = "softmax" if labels.exclusive else "sigmoid"
    layer = keras.layers.Conv2D(len(weights), 1, activation=activation, name=f"{modality}_classes")
    found = layer(slices)
    if labels.exclusive:
        found = found[..., 1:]
    model = keras.Model(slices, found, name=modality)
    layer.set_weights([weights.astype(np.float32).reshape(1, 1, 1, -1), biases.astype(np.float32)])
    count = len(labels.names)
    model.spec = NetworkSpec(
        window=window, levels=1, output_channels=count, activation="softmax" if labels.exclusive else "sigmoid"
    )
    return model


def predict(labels: LabelDefinition):
    """The network as a NumPy function: (batch, window, window, 1) -> (batch, window, window, classes)."""
    weights, biases = _lines(labels)

    def answer(batch: np.ndarray) -> np.ndarray:
        logits = batch.astype(np.float64) * weights + biases
        if not labels.exclusive:
            return (1 / (1 + np.exp(-np.clip(logits, -60, 60)))).astype(np.float32)
        powers = np.exp(logits - logits.max(-1, keepdims=True))
        return (powers / powers.sum(-1, keepdims=True))[..., 1:].astype(np.float32)

    return answer


def expected(labels: LabelDefinition, values: np.ndarray) -> np.ndarray:
    """What a model answers for a CT in HU: (regions, ...) 0/1, or the numbers of exclusive classes."""
    if not labels.exclusive:
        return np.stack([values > LEVELS[name] for name in labels.names]).astype(np.uint8)
    distance = np.abs(_normalised(np.clip(values, -200, 300))[..., None] - np.array(CENTRES))
    return distance.argmin(-1).astype(np.uint8)


def volume(shape=(11, 13, 7), seed: int = 0) -> np.ndarray:
    """A CT in HU, float32, no value of which lies near the limit of a class."""
    chosen = np.array([-1000, -180, -130, -20, 20, 90, 130, 180, 260, 290])
    return np.random.default_rng(seed).choice(chosen, shape).astype(np.float32)
