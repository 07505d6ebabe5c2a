"""Half precision: float32 sums and variables, and steps that overflow."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from semicml_tf.losses import asc, supervised
from semicml_tf.methods import replicas
from semicml_tf.training.distributed.devices import strategy_for
from semicml_tf.training.step import compiled_step
from tests.support import method_batches

# Whether a map counts as empty hangs on one pixel at 0.5, which rounding may move: maps without foreground are kept.
HOW = {"optimizer": "sgd", "learning_rate": 0.01, "lr_warmup_epochs": 0.0, "burn_in": 0.0, "ramp": 0.0}
HOW |= {"asc_empty": "keep"}


def _method(name, precision, synchronized=False, levels=2):
    return method_batches.method(name, precision=precision, synchronized=synchronized, levels=levels, **HOW)


def test_sums_over_more_pixels_than_float16_can_count():
    """300 x 300 pixels: their number alone is infinite in float16."""
    assert np.isinf(np.float16(300 * 300))
    ones = tf.ones((2, 300, 300, 1), tf.float16)
    half = tf.fill((2, 300, 300, 1), tf.constant(0.5, tf.float16))
    assert float(supervised.batch_dice_loss(ones, ones)) == pytest.approx(0.0, abs=1e-6)
    # 2 sum(p y) / (sum(p^2) + sum(y^2)) with p = 1/2, y = 1: 1 / (1/4 + 1).
    assert float(supervised.batch_dice_loss(half, ones)) == pytest.approx(1 - 0.8, abs=1e-5)
    assert float(supervised.cross_entropy(half, ones)[0]) == pytest.approx(np.log(2), abs=1e-5)
    matrix = np.asarray(asc.similarity_matrix(tf.concat([half[:1], ones[:1]], axis=0)))
    np.testing.assert_allclose(matrix, [[1, 0.8], [0.8, 1]], atol=1e-5)


@method_batches.half_precision
@pytest.mark.parametrize("name, precision", [("semi_cml", "float16"), ("prel", "bfloat16")])
def test_a_half_precision_step_is_close_to_the_float32_step(name, precision):
    full, half = _method(name, "float32"), _method(name, precision)
    student = half.students["ct"]
    assert student.get_layer("encoder0a_conv").compute_dtype == precision
    assert {weight.dtype for weight in student.weights} == {"float32"} and student.outputs[0].dtype == "float32"
    before = [weight.numpy().copy() for weight in student.trainable_variables]
    for optimizer in half.student_optimizers.values() if precision == "float16" else ():
        optimizer.dynamic_scale.assign(256.0)  # where nothing overflows
    batch = method_batches.batch(0)
    one, other = full.train_step(batch), half.train_step(batch)
    for term in (term for term in one if term.startswith(("loss", "gradient_norm"))):
        assert float(other[term]) == pytest.approx(float(one[term]), rel=0.02, abs=0.02), term
    moved = [weight.numpy() - start for weight, start in zip(student.trainable_variables, before)]
    expected = [weight.numpy() - start for weight, start in zip(full.students["ct"].trainable_variables, before)]
    ours, theirs = (np.concatenate([part.ravel() for part in parts]) for parts in (moved, expected))
    assert np.dot(ours, theirs) / np.linalg.norm(ours) / np.linalg.norm(theirs) > 0.99
    assert np.linalg.norm(ours) == pytest.approx(np.linalg.norm(theirs), rel=0.05)


@method_batches.half_precision
def test_an_overflowing_step_is_skipped_and_halves_the_loss_scale():
    method = _method("supervised", "float16")
    optimizer = method.student_optimizers["ct"]
    assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    before = method.students["ct"].get_weights()
    statistics = {weight.path for weight in method.students["ct"].non_trainable_weights}
    optimizer.dynamic_scale.assign(1e30)
    batch = method_batches.batch(0, unlabelled=0)
    terms = method.train_step(batch)
    assert np.isfinite(float(terms["loss"]))
    assert float(optimizer.dynamic_scale) == pytest.approx(5e29)
    for weight, start in zip(method.students["ct"].weights, before):
        if weight.path not in statistics:
            np.testing.assert_array_equal(weight.numpy(), start)
    optimizer.dynamic_scale.assign(1024.0)
    method.train_step(batch)
    assert any(
        np.abs(weight.numpy() - start).max() > 0
        for weight, start in zip(method.students["ct"].weights, before)
        if weight.path not in statistics
    )
    # A step that is left out is none of the stage's steps.
    assert int(optimizer.iterations) == 1


def _number(variable) -> float:
    return float(keras.ops.convert_to_numpy(variable))


@method_batches.half_precision
def test_replicas_in_half_precision_are_close_to_one_replica():
    """CT's loss is scaled so that its gradients overflow, PET's so that they cannot."""

    def on(devices):
        strategy = strategy_for(devices)
        with strategy.scope():
            method = _method("semi_cml", "float16", synchronized=len(devices) > 1, levels=1)
            method.student_optimizers["ct"].dynamic_scale.assign(1e30)
            method.student_optimizers["pet"].dynamic_scale.assign(256.0)
        step = method_batches.eager_step(method, strategy)
        return [float(step(method_batches.batch(seed))["loss"]) for seed in range(2)], method

    (losses, one), (again, two) = on(["cpu:0"]), on(["cpu:0", "cpu:1"])
    assert again == pytest.approx(losses, rel=0.01)
    for method in (one, two):
        ct, pet = (method.student_optimizers[name] for name in ("ct", "pet"))
        assert (_number(ct.iterations), _number(pet.iterations)) == (0, 2)
        assert _number(ct.dynamic_scale) == pytest.approx(2.5e29) and _number(pet.dynamic_scale) == 256.0
    for name in one.modalities:
        for a, b in zip(one.students[name].get_weights(), two.students[name].get_weights()):
            np.testing.assert_allclose(b, a, atol=5e-3)


@pytest.mark.parametrize("name", ["semi_cml", "prel"])
def test_a_step_compiled_by_xla_gives_the_same_result(name):
    strategy = strategy_for(["cpu:0"])
    losses = []
    for compiled in (False, True):
        with strategy.scope():
            method = _method(name, "float64", levels=1)
        step = method_batches.eager_step(method, strategy)
        if compiled:
            step = compiled_step(method, strategy, jit_compile=True)
        losses.append([float(step(method_batches.batch(seed, dtype="float64"))["loss"]) for seed in (0, 1)])
    # Rates and ramps are float32, and XLA rounds these otherwise.
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)


def test_all_replicas_skip_a_step_if_one_replica_overflows():
    strategy = strategy_for(["cpu:0", "cpu:1"])

    def seen(values):
        def own(x):
            return replicas.finite_everywhere([x, tf.zeros(2)])

        dealt = strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant([values[context.replica_id_in_sync_group], 1.0])
        )
        found = tf.function(lambda x: strategy.run(own, args=(x,)))(dealt)
        return [np.stack([part.numpy() for part in strategy.experimental_local_results(value)]) for value in found]

    np.testing.assert_array_equal(seen([2.0, 3.0])[0], [[2, 1], [3, 1]])
    assert all(np.isnan(found).all() for found in seen([2.0, float("inf")]))
