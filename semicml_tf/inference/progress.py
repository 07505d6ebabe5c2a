"""A segmenter that shows on stderr how many slices are done."""

from __future__ import annotations

import numpy as np

from semicml_tf.inference.volume import Segmenter


class WithProgress(Segmenter):
    """Does what `model` does and moves a bar.

    Args:
        model: of which slices are asked for.
        bar: a `tqdm` bar that counts slices.
    """

    def __init__(self, model: Segmenter, bar):
        super().__init__(model.manifest)
        self._model, self._bar = model, bar

    def slices(self, batch: np.ndarray) -> np.ndarray:
        found = self._model.slices(batch)
        self._bar.update(len(batch))
        return found

    def dropout_slices(self, batch: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        found = self._model.dropout_slices(batch, seeds)
        self._bar.update(len(batch))
        return found

    def origins(self) -> list[dict]:
        return self._model.origins()
