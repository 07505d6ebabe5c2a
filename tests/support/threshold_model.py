"""A network whose answer is known: a pixel is foreground where the native value is above a threshold."""

from __future__ import annotations

import numpy as np

from semicml_tf.artefact.manifest import Manifest
from semicml_tf.labels import LESION, PLAIN
from semicml_tf.preprocessing.normalisation import Normalisation

# Between two HU and two SUV of the tests' volumes; normalised, it is no float16 number.
LEVELS = {"ct": 51.3, "pet": 2.513}
_NORMALISATIONS = {"ct": "hu:-200:300", "pet": "suv:0:15", "mr": "percentile:0.5:99.5"}
_STEEPNESS = 400.0


def manifest(modality: str, *, window: int = 16, spacing_mm=(0.0, 0.0, 0.0)) -> Manifest:
    """A manifest of `modality`; spacing 0 means the volume's own."""
    return Manifest(
        modality=modality,
        spacing_mm=spacing_mm,
        normalisation=Normalisation.parse(_NORMALISATIONS[modality]),
        window=window,
        labels=PLAIN,
        thresholds={LESION: 0.5},
        data_hash=f"data-{modality}",
        run_hash=f"run-{modality}",
        validation_dice=0.75,
        semicml_tf_version="0.1.0",
    )


def _line(modality: str) -> tuple[float, float]:
    """Weight and bias of sigmoid(weight * normalised + bias), 0.5 at the modality's level."""
    how = _NORMALISATIONS[modality].split(":")
    low, high = float(how[1]), float(how[2])
    level = (LEVELS[modality] - (low + high) / 2) / ((high - low) / 2)
    return _STEEPNESS, -_STEEPNESS * level


def predict(modality: str):
    """The network as a NumPy function of (batch, window, window, 1)."""
    weight, bias = _line(modality)
    return lambda batch: (1 / (1 + np.exp(-np.clip(weight * batch + bias, -60, 60)))).astype(np.float32)


def network(modality: str, *, window: int = 16):
    """The network as a `keras.Model`."""
    import keras

    slices = keras.Input((window, window, 1), name="slices")
    layer = keras.layers.Conv2D(1, 1, activation="sigmoid", name=f"{modality}_level")
    model = keras.Model(slices, layer(slices), name=modality)
    weight, bias = _line(modality)
    layer.set_weights([np.full((1, 1, 1, 1), weight, np.float32), np.full((1,), bias, np.float32)])
    return model


def volume(modality: str, shape=(11, 13, 7), seed: int = 0) -> np.ndarray:
    """Random float32 values in the modality's units, on both sides of its level and never next to it."""
    rng = np.random.default_rng(seed)
    if modality == "ct":
        values = rng.integers(-1000, 400, shape).astype(np.float32)
        values[0, 0, 0] = -1000
        # A whole HU off the level, so that float16 rounding cannot carry a voxel over it.
        return np.where(np.abs(values - LEVELS["ct"]) < 1, -50, values).astype(np.float32)
    values = rng.integers(0, 100, shape) / np.float32(10)
    return np.where(np.abs(values - LEVELS["pet"]) < 0.05, 1, values).astype(np.float32)


def clear_volume(modality: str, shape=(11, 13, 7), seed: int = 0) -> np.ndarray:
    """As `volume`, so far from the level that the network's answers are 1 and next to nothing."""
    high, low = {"ct": (200, -500), "pet": (10, 0.5)}[modality]
    return np.where(volume(modality, shape, seed) > LEVELS[modality], high, low).astype(np.float32)


def oblique(spacing_mm=(2.0, 2.5, 4.0), degrees: float = 20.0) -> np.ndarray:
    """A (4, 4) affine turned about two axes."""
    a, b = np.radians(degrees), np.radians(-0.7 * degrees)
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = about_z @ about_x @ np.diag(spacing_mm)
    affine[:3, 3] = (-31.0, 12.5, 703.0)
    return affine
