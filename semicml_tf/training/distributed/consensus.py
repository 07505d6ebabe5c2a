"""What several workers, or replicas, must agree on beside their steps."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import pathlib
from collections.abc import Sequence

import tensorflow as tf

from semicml_tf.errors import UserError, first_line
from semicml_tf.training.distributed.cluster import Workers

# What a collective ends with when a worker is gone.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
)


class Together:
    """The workers of a run, as one of them sees the others. Where there is one, nothing is asked.

    Args:
        workers: how many, and which one this is.
        strategy: that they share.
        folder: the run's, for messages.
    """

    def __init__(self, workers: Workers, strategy: tf.distribute.Strategy, folder: pathlib.Path):
        self._workers, self._strategy, self._folder = workers, strategy, folder

    @property
    def chief(self) -> bool:
        """Whether this process writes."""
        return self._workers.chief

    def any_says(self, said: bool) -> bool:
        """Whether any worker says so; all must ask, and none goes on before the others have."""
        if self._workers.count == 1:
            return said
        return bool(_summed(tf.constant(float(said)), self._strategy) > 0)

    def wait(self) -> None:
        """Until all are here: who leaves first may take the others with it."""
        self.any_says(True)

    def of_chief(self, numbers: Sequence[float]) -> list[float]:
        """The chief's numbers, which all go by: machines that differ may find others."""
        if self._workers.count == 1:
            return list(numbers)
        return _summed(tf.constant(numbers, tf.float64), self._strategy, of_first=True).numpy().tolist()

    def require_same(self, start: str, checkpoint: pathlib.Path) -> None:
        """Checks that all begin alike.

        Args:
            start: what they begin with, in words.
            checkpoint: file that they begin from, if it is there.

        Raises:
            UserError: one of them has another start, or sees another file.
        """
        if self._workers.count == 1:
            return
        content = checkpoint.read_bytes() if checkpoint.exists() else b""
        own = tf.constant(list(hashlib.sha256(start.encode() + content).digest()), tf.float32)
        # Bytes are all alike if their mean is the own one; a worker that differs sees it, and tells the others.
        differs = bool(tf.reduce_any(_summed(own, self._strategy) != self._strategy.num_replicas_in_sync * own))
        if self.any_says(differs):
            raise UserError(
                "the workers do not see the same run: their flags, data or checkpoints differ",
                path=self._folder,
                remedy="Give all of them the same command, and a folder that all of them share",
            )

    @contextlib.contextmanager
    def explained(self):
        """Turns what TensorFlow raises where another worker is gone into one line."""
        try:
            yield
        except _LOST as error:
            if self._workers.count == 1:
                raise
            raise UserError(
                f"worker {self._workers.number} of {self._workers.count} lost another one "
                f"({type(error).__name__}: {first_line(error)}); the last checkpoint is that of the last whole epoch",
                path=self._folder,
                remedy="Start the same command again on all workers with --resume to go on",
            ) from error


def _summed(value, strategy: tf.distribute.Strategy, *, of_first: bool = False):
    return strategy.experimental_local_results(_sum(strategy, of_first)(value))[0]


@functools.cache
def _sum(strategy: tf.distribute.Strategy, of_first: bool):
    """The sum over replicas, to which the first one's value alone counts if it is `of_first`."""

    def summed(value):
        context = tf.distribute.get_replica_context()
        counts = context.replica_id_in_sync_group == 0 if of_first else True
        # A tensor made here names a device, which workers' collectives ask for.
        return context.all_reduce("SUM", tf.where(counts, value, tf.zeros_like(value)))

    return tf.function(lambda value: strategy.run(summed, args=(value,)))
