"""The fused batch normalisation is Keras's in values, gradients and statistics."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from semicml_tf.networks.batch_norm import BatchNormalization


def _layers(**settings):
    rng = np.random.default_rng(5)
    made = [
        kind(momentum=0.9, epsilon=1e-5, **settings) for kind in (BatchNormalization, keras.layers.BatchNormalization)
    ]
    weights = [rng.normal(1, 0.3, 6), rng.normal(0, 0.3, 6), rng.normal(0, 1, 6), rng.uniform(0.5, 2, 6)]
    for layer in made:
        layer.build((None, None, None, 6))
        layer.set_weights(weights)
    return made


def _step(layer, x, training):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=training)
        loss = tf.reduce_sum(y * tf.reshape(tf.range(tf.size(y), dtype=tf.float32), tf.shape(y)) * 1e-3)
    return y, tape.gradient(loss, [x, layer.gamma.value, layer.beta.value])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("count", [1, 3], ids=["one slice", "three slices"])
def test_values_gradients_and_moving_statistics_are_kerass(training, count):
    ours, theirs = _layers()
    x = tf.constant(np.random.default_rng(1).normal(2, 3, (count, 5, 7, 6)), tf.float32)
    (y, gradients), (expected, expected_gradients) = (_step(layer, x, training) for layer in (ours, theirs))
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    for found, right in zip(gradients, expected_gradients):
        np.testing.assert_allclose(found, right, rtol=2e-3, atol=2e-4)
    for found, right in zip(ours.get_weights(), theirs.get_weights()):
        np.testing.assert_allclose(found, right, rtol=1e-5, atol=1e-6)


def test_training_uses_the_fused_kernel_and_synchronised_statistics_do_not():
    def operations(layer):
        graph = tf.function(lambda x: layer(x, training=True)).get_concrete_function(tf.TensorSpec((2, 4, 4, 6)))
        return {operation.type for operation in graph.graph.get_operations()}

    ours, theirs = _layers()
    assert "FusedBatchNormV3" in operations(ours)
    assert "FusedBatchNormV3" not in operations(theirs)
    assert "FusedBatchNormV3" not in operations(_layers(synchronized=True)[0])


def test_a_frozen_layer_keeps_its_statistics():
    ours, _ = _layers()
    ours.trainable = False
    before = ours.get_weights()
    ours(tf.ones((2, 4, 4, 6)), training=True)
    for old, new in zip(before, ours.get_weights()):
        np.testing.assert_array_equal(old, new)


def test_synchronised_statistics_take_one_exchange_forward_and_one_back(monkeypatch):
    """Between machines each costs a millisecond and more, and there are dozens of layers."""
    exchanged = []

    class Alone:
        def all_reduce(self, _, tensor):
            exchanged.append(tensor.shape)
            return tensor

    ours, theirs = _layers(synchronized=True)
    x = tf.constant(np.random.default_rng(1).normal(2, 3, (3, 5, 7, 6)), tf.float32)
    expected, expected_gradients = _step(theirs, x, True)
    monkeypatch.setattr(tf.distribute, "get_replica_context", Alone)
    y, gradients = _step(ours, x, True)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    for found, right in zip(gradients, expected_gradients):
        np.testing.assert_allclose(found, right, rtol=2e-3, atol=2e-4)
    assert exchanged == [(13,), (12,)]  # sums, squares, the count of values; gradients of beta and gamma
