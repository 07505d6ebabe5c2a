"""Agreement of several workers beside their steps: stops, starts, and the chief's numbers."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import pathlib
from collections.abc import Sequence

import tensorflow as tf

from semicml_tf.errors import UserError, first_line
from semicml_tf.training.distributed.cluster import Workers

# Errors of a collective after the loss of a worker.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
)


class Together:
    """Agreement of the workers of a run. A single worker needs no communication.

    Args:
        workers: the workers of the run, and the number of this one.
        strategy: the strategy that the workers share.
        folder: the run's folder, for messages.
    """

    def __init__(self, workers: Workers, strategy: tf.distribute.Strategy, folder: pathlib.Path):
        self._workers, self._strategy, self._folder = workers, strategy, folder

    @property
    def chief(self) -> bool:
        """Whether this worker writes the run's folder."""
        return self._workers.chief

    def any_says(self, said: bool) -> bool:
        """Whether `said` is true on any worker. All workers must call this, and each waits for the others."""
        if self._workers.count == 1:
            return said
        return bool(_summed(tf.constant(float(said)), self._strategy) > 0)

    def wait(self) -> None:
        """Waits for all workers: the first worker to leave could end the others."""
        self.any_says(True)

    def of_chief(self, numbers: Sequence[float]) -> list[float]:
        """The chief's numbers, for all workers. Different machines may compute different numbers."""
        if self._workers.count == 1:
            return list(numbers)
        return _summed(tf.constant(numbers, tf.float64), self._strategy, of_first=True).numpy().tolist()

    def require_same(self, start: str, checkpoint: pathlib.Path) -> None:
        """Checks that all workers start with the same settings and checkpoint.

        Args:
            start: the settings and the position, as text.
            checkpoint: file of the checkpoint, which may be missing.

        Raises:
            UserError: a worker has another start, or reads another file.
        """
        if self._workers.count == 1:
            return
        content = checkpoint.read_bytes() if checkpoint.exists() else b""
        own = tf.constant(list(hashlib.sha256(start.encode() + content).digest()), tf.float32)
        # All bytes are equal if their mean equals the own bytes. A worker that differs informs the others.
        differs = bool(tf.reduce_any(_summed(own, self._strategy) != self._strategy.num_replicas_in_sync * own))
        if self.any_says(differs):
            raise UserError(
                "the workers do not see the same run: their flags, data or checkpoints differ",
                path=self._folder,
                remedy="Give all of them the same command, and a folder that all of them share",
            )

    @contextlib.contextmanager
    def explained(self):
        """Converts TensorFlow's errors after the loss of a worker to one line."""
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
    """The sum over replicas, or the value of the first replica if `of_first`."""

    def summed(value):
        context = tf.distribute.get_replica_context()
        counts = context.replica_id_in_sync_group == 0 if of_first else True
        # A tensor that is made here has a device, which the workers' collectives need.
        return context.all_reduce("SUM", tf.where(counts, value, tf.zeros_like(value)))

    return tf.function(lambda value: strategy.run(summed, args=(value,)))
