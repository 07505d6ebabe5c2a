"""One stage: a method's steps, its epochs' validations, its checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from semicml_tf.errors import UserError
from semicml_tf.methods.base import Method
from semicml_tf.training.distributed.devices import own_part


def compiled_step(
    method: Method,
    strategy: tf.distribute.Strategy,
    sizes: Mapping[str, int] | None = None,
    *,
    jit_compile: bool = False,
) -> Callable[[Any], dict[str, tf.Tensor]]:
    """`method.train_step` on every replica, as one graph: batch -> the step's terms.

    Args:
        sizes: of the global batch's streams, where each worker gives its own part of it; else all give the whole.
        jit_compile: by XLA, which knows no collectives: on one device alone.
    """

    @tf.function(jit_compile=jit_compile)
    def on_replicas(batch):
        return strategy.run(method.train_step, args=(batch,))

    def step(batch):
        terms = on_replicas(own_part(batch, strategy, sizes))
        # Every replica computed them on the gathered batch: all hold the same.
        return {name: strategy.experimental_local_results(value)[0] for name, value in terms.items()}

    return step


def rates(method: Method) -> dict[str, float]:
    """Columns of the history: the learning rate of each modality, and with float16 its loss scale."""
    columns = {f"learning_rate_{name}": float(opt.learning_rate) for name, opt in method.student_optimizers.items()}
    scaled = {name: opt for name, opt in method.student_optimizers.items() if hasattr(opt, "dynamic_scale")}
    numbers = {name: keras.ops.convert_to_numpy(opt.dynamic_scale) for name, opt in scaled.items()}
    return columns | {f"loss_scale_{name}": float(number) for name, number in numbers.items()}


class Means:
    """Running means of a step's terms; part of a checkpoint, so that a resumed epoch's row is whole."""

    def __init__(self, state: dict[str, Any] | None = None):
        self.count, self.sums = (state["count"], dict(state["sums"])) if state else (0, {})

    def add(self, terms: dict[str, tf.Tensor], where: Callable[[], str]) -> None:
        """Takes in a step's terms.

        Raises:
            UserError: one of them is not finite. `where` names the step.
        """
        if self.sums.keys() - terms.keys():
            # Of an earlier version, which called them otherwise: the row holds the rest of the epoch.
            self.count, self.sums = 0, {}
        for name, value in terms.items():
            number = float(value)
            if not math.isfinite(number):
                raise UserError(
                    f"'{name}' became {number} at {where()}",
                    remedy="Lower --learning_rate, or check the input; a checkpoint, if there is one, is from before",
                )
            self.sums[name] = self.sums.get(name, 0.0) + number
        self.count += 1

    def values(self) -> dict[str, float]:
        """The means so far."""
        return {name: total / self.count for name, total in self.sums.items()}

    def state(self) -> dict[str, Any]:
        """JSON values."""
        return {"count": self.count, "sums": self.sums}


class Speed:
    """Slices a second since the last reading, validation left out."""

    def __init__(self):
        self._slices, self._seconds, self._since = 0, 0.0, None

    def __enter__(self):
        self._since = time.perf_counter()
        return self

    def __exit__(self, *_):
        self._seconds += time.perf_counter() - self._since

    def add(self, slices: int) -> None:
        """Counts slices seen."""
        self._slices += slices

    @property
    def rate(self) -> float:
        """Slices a second so far."""
        return self._slices / self._seconds if self._seconds else 0.0

    def read(self) -> float:
        """Slices a second; starts anew."""
        rate = self.rate
        self._slices, self._seconds = 0, 0.0
        return rate
