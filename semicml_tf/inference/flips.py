"""Test-time flips: the mean of a network's answers to a slice and its mirror images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from semicml_tf.inference.wrapped_segmenter import Wrapped

# Axes of (batch, rows, columns, 1) that are mirrored.
VARIANTS = ((), (1,), (2,), (1, 2))


def mean_over_flips(predict: Callable[[np.ndarray], np.ndarray], batch: np.ndarray) -> np.ndarray:
    """Mean over rows and columns as they are and mirrored; each answer is mirrored back.

    Args:
        predict: maps (batch, rows, columns, 1) float32 to probabilities of that shape.
    """
    total = np.zeros(batch.shape, np.float32)
    for axes in VARIANTS:
        total += np.flip(predict(np.ascontiguousarray(np.flip(batch, axes))), axes)
    return total / np.float32(len(VARIANTS))


class Flipped(Wrapped):
    """A segmenter that asks another one four times a slice."""

    def slices(self, batch: np.ndarray) -> np.ndarray:
        return mean_over_flips(self._model.slices, batch)

    def dropout_slices(self, batch: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        return mean_over_flips(lambda flipped: self._model.dropout_slices(flipped, seeds), batch)
