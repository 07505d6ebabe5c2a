"""Moving batch statistics where each replica moves its own: what replicas then do not hold in common."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

_NAMES = ("moving_mean", "moving_variance")


class OwnStatistics:
    """The moving statistics of networks whose batch normalisation is not synchronised.

    All methods are collectives: every worker must call them, in the same order.

    Args:
        networks: made in the strategy's scope.
        strategy: of several replicas.
    """

    def __init__(self, networks: Iterable, strategy: tf.distribute.Strategy):
        self._strategy = strategy
        self._variables = [
            variable for network in networks for variable in network.non_trainable_variables if variable.name in _NAMES
        ]
        # Graphs, each built at its first call and kept.
        self._shared = tf.function(lambda: strategy.run(self._share))
        self._gathered = tf.function(lambda: strategy.run(self._gather))
        self._dealt = tf.function(lambda rows: strategy.run(self._deal, args=(rows,)))

    def share(self) -> None:
        """Gives all replicas the mean of theirs: what is validated and kept has one of each."""
        self._shared()

    def rows(self) -> np.ndarray:
        """All replicas', (replicas, values) float32."""
        return self._strategy.experimental_local_results(self._gathered())[0].numpy()

    def deal(self, rows: np.ndarray) -> None:
        """Gives each replica its row of what `rows` returned; all get the mean where there were more or fewer."""
        count = self._strategy.num_replicas_in_sync
        if len(rows) != count:
            rows = np.repeat(rows.mean(axis=0, keepdims=True), count, axis=0)
        self._dealt(tf.constant(rows))

    # On each replica.

    def _own(self):
        return tf.concat([tf.reshape(variable.value, [-1]) for variable in self._variables], axis=0)

    def _put(self, values) -> None:
        parts = tf.split(values, [math.prod(variable.shape) for variable in self._variables])
        for variable, part in zip(self._variables, parts):
            variable.assign(tf.reshape(part, variable.shape))

    def _share(self) -> None:
        self._put(tf.distribute.get_replica_context().all_reduce("MEAN", self._own()))

    def _gather(self):
        return tf.distribute.get_replica_context().all_gather(self._own()[tf.newaxis], axis=0)

    def _deal(self, rows) -> None:
        self._put(rows[tf.distribute.get_replica_context().replica_id_in_sync_group])
