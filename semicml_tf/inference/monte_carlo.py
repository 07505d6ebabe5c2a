"""Monte-Carlo dropout: several passes of one network, each with features dropped at random.

Source: Gal and Ghahramani 2016, arXiv 1506.02142. Every slice of every pass has a seed of its own, so that neither the
batch size nor the order of the work changes what is dropped.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator

import numpy as np

from semicml_tf.geometry import tiling
from semicml_tf.inference.volume import Segmenter, through
from semicml_tf.inference.wrapped_segmenter import Wrapped


def slice_seeds(seed: int, number: int, count: int) -> np.ndarray:
    """The seeds (count,) int32 of the slices of pass `number` (from 0): a pure function of the arguments."""
    return np.random.default_rng([seed, number]).integers(2**31, size=count).astype(np.int32)


def _with_seeds(batches: Iterable[np.ndarray], seeds: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of slices in their order, each with the seeds of its slices."""
    done = 0
    for batch in batches:
        yield batch, seeds[done : done + len(batch)]
        done += len(batch)


class MonteCarlo(Wrapped):
    """A segmenter that draws from another one's dropout.

    Args:
        model: has `dropout_slices`.
        passes: number of draws.
        seed: of all of them; not negative.
    """

    def __init__(self, model: Segmenter, passes: int, seed: int):
        super().__init__(model)
        self._passes, self._seed = passes, seed

    def _pass(self, seeds: np.ndarray, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The answers of the network as it is in one pass."""
        return self.each(lambda pair: self._model.dropout_slices(*pair), _with_seeds(batches, seeds))

    def draws(self, prepared, *, batch_size: int) -> Iterator[np.ndarray]:
        """Raises UserError if the network has no dropout."""
        count = len(prepared.volume) * tiling.per_slice(prepared.volume.shape, self.manifest.window)
        for number in range(self._passes):
            answers = functools.partial(self._pass, slice_seeds(self._seed, number, count))
            yield through(prepared, self.manifest, answers, batch_size=batch_size)
