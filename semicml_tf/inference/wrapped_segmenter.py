"""A segmenter that asks another one, and changes a part of what that does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from semicml_tf.inference.volume import Segmenter


class Wrapped(Segmenter):
    """Does what another segmenter does, wherever that runs; subclasses change some of it."""

    def __init__(self, model: Segmenter):
        super().__init__(model.manifest)
        self._model = model

    def slices(self, batch: np.ndarray) -> np.ndarray:
        return self._model.slices(batch)

    def each(self, function: Callable, items: Iterable) -> Iterator:
        return self._model.each(function, items)

    def check_dropout(self) -> None:
        self._model.check_dropout()

    def dropout_slices(self, batch: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        return self._model.dropout_slices(batch, seeds)

    def origins(self) -> list[dict]:
        return self._model.origins()
