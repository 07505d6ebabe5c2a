"""Monte-Carlo dropout: several passes of one network, each with features dropped at random.

Source: Gal and Ghahramani 2016, arXiv 1506.02142. Every slice of every pass has a seed of its own, so that neither the
batch size nor the order of the work changes what is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from semicml_tf.geometry import tiling
from semicml_tf.inference.volume import Segmenter, through


def slice_seeds(seed: int, number: int, count: int) -> np.ndarray:
    """The seeds (count,) int32 of the slices of pass `number` (from 0): a pure function of the arguments."""
    return np.random.default_rng([seed, number]).integers(2**31, size=count).astype(np.int32)


class _Pass:
    """The network as it is in one pass; called with slices in their order."""

    def __init__(self, model: Segmenter, seeds: np.ndarray):
        self._model, self._seeds, self._done = model, seeds, 0

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        seeds = self._seeds[self._done : self._done + len(batch)]
        self._done += len(batch)
        return self._model.dropout_slices(batch, seeds)


class MonteCarlo(Segmenter):
    """A segmenter that draws from another one's dropout.

    Args:
        model: has `dropout_slices`.
        passes: number of draws.
        seed: of all of them; not negative.
    """

    def __init__(self, model: Segmenter, passes: int, seed: int):
        super().__init__(model.manifest)
        self._model, self._passes, self._seed = model, passes, seed

    def origins(self) -> list[dict]:
        return self._model.origins()

    def draws(self, prepared, *, batch_size: int) -> Iterator[np.ndarray]:
        """Raises UserError if the network has no dropout."""
        count = len(prepared.volume) * tiling.per_slice(prepared.volume.shape, self.manifest.window)
        for number in range(self._passes):
            predict = _Pass(self._model, slice_seeds(self._seed, number, count))
            yield through(prepared, self.manifest, predict, batch_size=batch_size)
