"""A segmenter that shows on stderr how many slices are done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from semicml_tf.inference.volume import Segmenter
from semicml_tf.inference.wrapped_segmenter import Wrapped


class WithProgress(Wrapped):
    """Does what `model` does and moves a bar.

    Args:
        model: of which slices are asked for.
        bar: a `tqdm` bar that counts slices.
    """

    def __init__(self, model: Segmenter, bar):
        super().__init__(model)
        self._bar = bar

    def each(self, function: Callable, items: Iterable) -> Iterator:
        # Here and not where a batch is answered: that may be in another thread, and a bar belongs to one.
        for found in self._model.each(function, items):
            self._bar.update(len(found))
            yield found
