"""Several modalities' answers as one: at each voxel the mean over the images that reach it."""

from __future__ import annotations

import numpy as np


class Fusion:
    """Maps of foreground probabilities on one grid, averaged.

    A voxel that one image alone reaches has that modality's probability and threshold; elsewhere both are means.

    Args:
        first: float32 probabilities of the modality whose grid it is: its image reaches every voxel.
        threshold: of that modality's probabilities.
    """

    def __init__(self, first: np.ndarray, threshold: float):
        self._sum = first.astype(np.float32)
        self._count = np.ones(first.shape, np.uint8)
        self._thresholds = [(threshold, None)]

    def add(self, probabilities: np.ndarray, reached: np.ndarray, threshold: float) -> None:
        """Takes a further modality's map, of which that counts where its image is (`reached`, bool)."""
        self._sum[reached] += probabilities[reached]
        self._count += reached
        self._thresholds.append((threshold, reached))

    def probabilities(self) -> np.ndarray:
        """The mean, float32."""
        return self._sum / self._count

    def threshold(self) -> float | np.ndarray:
        """The mean of the thresholds: one number where all are equal, else float32 of the maps' shape."""
        if len({threshold for threshold, _ in self._thresholds}) == 1:
            return self._thresholds[0][0]
        total = np.zeros(self._sum.shape, np.float32)
        for threshold, reached in self._thresholds:
            total[... if reached is None else reached] += np.float32(threshold)
        return total / self._count
