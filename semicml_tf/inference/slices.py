"""A network of square slices applied to a whole volume."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from semicml_tf.geometry import tiling

# Slices a call, where nobody says otherwise; a published model is warmed up for it.
BATCH_SIZE = 16


def probabilities(
    volume: np.ndarray, window: int, predict: Callable[[np.ndarray], np.ndarray], *, batch_size: int = BATCH_SIZE
) -> np.ndarray:
    """Foreground probabilities of a normalised volume on the network's grid.

    Windows are cut, sent and joined batch by batch: beside the result there is one batch in memory.

    Args:
        volume: (slices, rows, columns), normalised, of any float type.
        window: side of the slices that the network takes.
        predict: maps (batch, window, window, 1) float32 to probabilities of that shape. The windows come in the order
            of `tiling.cut`, each once.
        batch_size: slices a call, at most. Part of the result: another batch size may change the last bits.

    Returns:
        float32 of the shape of `volume`.
    """
    found = np.empty(volume.shape, np.float32)
    each = tiling.per_slice(volume.shape, window)
    total, done = each * len(volume), 0
    answers = np.empty((0, window, window), np.float32)
    for start in range(0, total, batch_size):
        stop = min(start + batch_size, total)
        first, last = start // each, -(-stop // each)
        tiles = tiling.cut(np.asarray(volume[first:last], np.float32), window)
        batch = tiles[start - first * each : stop - first * each, ..., np.newaxis]
        answers = np.concatenate([answers, np.asarray(predict(batch))[..., 0].astype(np.float32)])
        whole = len(answers) // each  # slices of which all windows are there
        if whole:
            joined = (whole, *volume.shape[1:])
            found[done : done + whole] = tiling.join(answers[: whole * each], joined, window)
            answers, done = answers[whole * each :], done + whole
    return found
