"""Consensus of replicas and workers: moving statistics, and the chief's numbers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from semicml_tf.networks.batch_norm import BatchNormalization
from semicml_tf.training.distributed.cluster import Workers
from semicml_tf.training.distributed.consensus import Together, _summed
from semicml_tf.training.distributed.devices import strategy_for
from semicml_tf.training.distributed.replica_statistics import OwnStatistics


def _means(strategy, layer):
    return [float(copy[0]) for copy in strategy.experimental_local_results(layer.moving_mean.value)]


@pytest.fixture
def moved():
    """A network whose replicas have seen slices of ones, and of threes."""
    strategy = strategy_for(["cpu:0", "cpu:1"])
    with strategy.scope():
        layer = BatchNormalization(momentum=0.0)
        layer.build((None, 2, 2, 1))
        network = keras.Sequential([keras.Input((2, 2, 1)), layer])
    dealt = strategy.experimental_distribute_values_from_function(
        lambda context: tf.fill((2, 2, 2, 1), 1.0 + 2.0 * context.replica_id_in_sync_group)
    )
    tf.function(lambda x: strategy.run(lambda part: layer(part, training=True), args=(x,)))(dealt)
    assert _means(strategy, layer) == [1.0, 3.0]
    return strategy, layer, OwnStatistics([network], strategy)


def test_statistics_of_each_replica_are_shared_for_validation(moved):
    strategy, layer, own = moved
    own.share()
    assert _means(strategy, layer) == [2.0, 2.0]


def test_statistics_of_each_replica_are_restored(moved):
    strategy, layer, own = moved
    rows = own.rows()
    # The mean, and the variance, which is 0 of slices all alike.
    np.testing.assert_array_equal(rows, [[1.0, 0.0], [3.0, 0.0]])
    own.share()
    own.deal(rows)
    assert _means(strategy, layer) == [1.0, 3.0]


@pytest.mark.parametrize("devices", [["cpu:0"], ["cpu:0", "cpu:1"]])
def test_with_another_number_of_devices_all_replicas_get_the_mean(devices):
    strategy = strategy_for(devices)
    with strategy.scope():
        layer = BatchNormalization()
        layer.build((None, 2, 2, 1))
        network = keras.Sequential([keras.Input((2, 2, 1)), layer])
    OwnStatistics([network], strategy).deal(np.array([[1.0, 2.0], [2.0, 3.0], [6.0, 7.0]], np.float32))
    assert _means(strategy, layer) == [3.0] * len(devices)
    assert float(layer.moving_variance[0]) == 4.0


def test_all_workers_get_the_exact_numbers_of_the_chief():
    strategy = strategy_for(["cpu:0", "cpu:1"])
    numbers = [0.1, 1 / 3, 2.0**60 + 256]
    together = Together(Workers(2, 0, ("a:1", "b:1")), strategy, None)
    assert together.of_chief(numbers) == numbers
    found = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant([[0.1, 0.7], [0.3, 0.4]][context.replica_id_in_sync_group], tf.float64)
    )
    assert _summed(found, strategy, of_first=True).numpy().tolist() == [0.1, 0.7]
