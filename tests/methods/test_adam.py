"""The fused Adam takes the same steps as Keras's Adam."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from semicml_tf.methods.adam import Adam
from semicml_tf.training.distributed.devices import strategy_for

SHAPES = [(3, 3, 2, 4), (4,), (1,)]
STEPS = 6


class Falling(keras.optimizers.schedules.LearningRateSchedule):
    """A rate that differs at each step."""

    def __call__(self, step):
        return 0.1 / (1.0 + keras.ops.cast(step, "float32"))


def _gradients(step: int) -> list[np.ndarray]:
    random = np.random.default_rng(step)
    # Of very unlike size, down to where epsilon counts.
    return [(random.normal(size=shape) * 10.0 ** random.integers(-8, 3)).astype("float32") for shape in SHAPES]


def _trained(kind, devices=("cpu:0",), **how) -> list[np.ndarray]:
    """Variables and slots after the steps; each replica gives its share of the gradient."""
    strategy = strategy_for(devices)
    with strategy.scope():
        random = np.random.default_rng(99)
        variables = [keras.Variable(random.normal(size=shape).astype("float32")) for shape in SHAPES]
        optimizer = kind(Falling(), **how)
        optimizer.build(variables)

    @tf.function
    def step(gradients):
        strategy.run(lambda: optimizer.apply([gradient / len(devices) for gradient in gradients], variables))

    for number in range(STEPS):
        step(_gradients(number))
    return [keras.ops.convert_to_numpy(each) for each in (*variables, *optimizer.variables)]


@pytest.mark.parametrize("how", [{}, {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3}, {"amsgrad": True}])
def test_adam_takes_the_same_steps_as_keras_adam(how):
    ours, theirs = _trained(Adam, **how), _trained(keras.optimizers.Adam, **how)
    assert len(ours) == len(theirs) >= 3 * len(SHAPES)
    for one, other in zip(ours, theirs):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-12)


def test_replicas_update_together():
    for one, other in zip(_trained(Adam, ("cpu:0", "cpu:1")), _trained(Adam)):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-12)


def test_an_update_is_a_single_operation():
    variable = keras.Variable(np.ones((2, 2), "float32"))
    optimizer = Adam(0.1)
    optimizer.build([variable])
    graph = tf.function(lambda gradient: optimizer.apply([gradient], [variable]))
    operations = graph.get_concrete_function(tf.TensorSpec((2, 2))).graph.get_operations()
    assert [each.type for each in operations].count("ResourceApplyAdam") == 1
    # The first step of Adam is the learning rate, whatever the gradient.
    graph(tf.constant([[5.0, -5.0], [0.01, -0.01]]))
    np.testing.assert_allclose(variable, [[0.9, 1.1], [0.9, 1.1]], rtol=1e-4)
