"""A network of square slices applied to a whole volume."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from semicml_tf.geometry import tiling


def probabilities(
    volume: np.ndarray, window: int, predict: Callable[[np.ndarray], np.ndarray], *, batch_size: int = 16
) -> np.ndarray:
    """Foreground probabilities of a normalised volume on the network's grid.

    Args:
        volume: (slices, rows, columns), normalised.
        window: side of the slices that the network takes.
        predict: maps (batch, window, window, 1) float32 to probabilities of that shape.
        batch_size: slices a call, at most. Part of the result: another batch size may change the last bits.

    Returns:
        float32 of the shape of `volume`.
    """
    tiles = tiling.cut(np.asarray(volume, np.float32), window)[..., np.newaxis]
    parts = [np.asarray(predict(tiles[i : i + batch_size])) for i in range(0, len(tiles), batch_size)]
    return tiling.join(np.concatenate(parts)[..., 0].astype(np.float32), volume.shape, window)
