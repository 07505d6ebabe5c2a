"""Two and four replicas take the same step as one replica on the same global batch. Keras's `fit` does, too."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from semicml_tf.networks.batch_norm import BatchNormalization
from semicml_tf.training.distributed.devices import strategy_for
from semicml_tf.training.step import compiled_step
from tests.support import method_batches

# SGD: Adam would turn rounding noise of tiny gradients into full steps. No burn-in: all terms from step 0.
# L2 in all: it must count once, not once a replica.
COMMON = {"optimizer": "sgd", "learning_rate": 0.05, "lr_warmup_epochs": 0.0, "burn_in": 0.0, "ramp": 0.0, "l2": 0.01}
CASES = {
    "supervised": ("supervised", {}),
    "semi_cml": ("semi_cml", {"mse_weight": 1.0}),
    "semi_cml_paper": (
        "semi_cml",
        {
            "asc_weight": 3.5,
            "asc_empty": "keep",
            "asc_negatives": "all",
            "mse_weight": 1.0,
            "mse_target": "student",
            "ema_decay": 0.0,
            "batch_statistics": "joint",
        },
    ),
    "prel": ("prel", {"prel_strong_from": 0.0}),
    "prel_paper": (
        "prel",
        {
            "teacher": "pool",
            "teacher_passes": 2,
            "teacher_dropout": True,
            "teacher_batch_statistics": True,
            "teacher_noise": 0.1,
            "prel_keep_labelled": False,
            "ema_decay": 0.0,
            "batch_statistics": "joint",
        },
    ),
    "prel_incomplete": (
        "prel",
        {"prel_strong_from": 0.0, "label_fusion": "fitted", "label_weighting": "confidence", "student_view": 0.5},
    ),
    "semi_cml_joint": ("semi_cml", {"batch_statistics": "joint", "mse_weight": 1.0}),
}
# By modality, 1 for slices of patients who have it.
PRESENT = {"prel_incomplete": {"ct": [1, 0, 1, 1, 1, 0], "pet": [0, 1, 1, 0, 1, 1]}}
# As heavy as the labelled loss, so that a term of its own part alone would show.
BASELINES = {"unlabelled_weight": 10.0, "unlabelled_ramp": 0.0}
CASES |= {name: (name, BASELINES) for name in method_batches.BASELINES}
# One level of the U-Net has most of what replicas could get wrong, and takes a tenth of the time. Two levels have a
# skip connection and up-sampling. URPC's coarser scales need three.
LEVELS = {"semi_cml_joint": 2, "urpc": 3}
# These cases take two steps as the graphs that users run. Graphs take long to build, so the other cases take one step,
# operation by operation.
COMPILED = ("semi_cml_paper", "prel")


def train(strategy, case, *, precision="float64"):
    """Takes the steps of a case, each on a batch of its own.

    Returns:
        The terms of each step, the weights before, and the weights after, by network.
    """
    name, settings = CASES[case]
    with strategy.scope():
        method = method_batches.method(
            name,
            levels=LEVELS.get(case, 1),
            synchronized=strategy.num_replicas_in_sync > 1,
            precision=precision,
            **COMMON,
            **settings,
        )
    if method.fusion:
        method.fusion.assign(np.linspace(0.2, 2.0, 12))  # slopes and offsets that all differ
    before = method_batches.weights(method)
    # Streams of unlike size, as in the paper's batch of 30 + 26; four replicas get parts of unlike size.
    sizes = (6, 0) if name == "supervised" else (6, 4)
    step = (compiled_step if case in COMPILED else method_batches.eager_step)(method, strategy)
    seeds = range(2 if case in COMPILED else 1)
    batches = (method_batches.batch(seed, *sizes, dtype=precision, present=PRESENT.get(case)) for seed in seeds)
    terms = [{key: float(value) for key, value in step(batch).items()} for batch in batches]
    return terms, before, method_batches.weights(method)


@functools.cache
def alone(case):
    """What one replica does."""
    return train(strategy_for(["cpu:0"]), case)


def assert_same_steps(steps, weights, case):
    """Checks terms and weights against those of one replica.

    In float64 rounding changes the 16th digit, and no pixel lies that near to a kink of ReLU. In float32 a pixel does
    now and then. A gradient then differs by the pixel's share, which is far more than rounding.
    """
    expected, before, after = alone(case)
    for step, terms in zip(steps, expected, strict=True):
        assert step == pytest.approx({key: terms[key] for key in step}, rel=1e-9, abs=1e-12)
    for key, arrays in after.items():
        for one, several in zip(arrays, weights[key], strict=True):
            np.testing.assert_allclose(several, one, rtol=1e-9, atol=1e-12, err_msg=key)
    # All this would hold for a method that does nothing, too.
    for key in [key for key in after if key.startswith("student")]:
        assert max(np.abs(one - start).max() for one, start in zip(after[key], before[key])) > 1e-3


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_replicas_equal_one_replica(case, count):
    steps, _, weights = train(strategy_for([f"cpu:{number}" for number in range(count)]), case)
    assert steps[0].keys() == alone(case)[0][0].keys()
    assert_same_steps(steps, weights, case)


def test_replicas_equal_one_replica_in_float32():
    """What comes before the first gradient: no kink is in it.

    Losses are sums over 6 x 16 x 16 pixels. In another order, their sum differs by at most as many roundings of 2^-24.
    """
    (one, *_), (two, *_) = (
        train(strategy_for(devices), "semi_cml", precision="float32") for devices in (["cpu:0"], ["cpu:0", "cpu:1"])
    )
    losses = {key for key in one[0] if key.startswith("loss")}
    assert {"loss", "loss_supervised", "loss_asc", "loss_mse"} == losses
    rounding = 6 * method_batches.WINDOW**2 * 2.0**-24
    assert [two[0][key] for key in losses] == pytest.approx([one[0][key] for key in losses], rel=rounding)


@pytest.mark.parametrize("synchronized", [True, False])
def test_batch_statistics_are_of_all_replicas_or_of_each_replica(synchronized):
    """The first replica's slices are dark, the second one's bright."""
    strategy = strategy_for(["cpu:0", "cpu:1"])
    with strategy.scope():
        layer = BatchNormalization(momentum=0.0, synchronized=synchronized)
        layer.build((None, 2, 2, 1))
    slices = tf.concat([tf.zeros((2, 2, 2, 1)), tf.ones((2, 2, 2, 1))], axis=0)
    dealt = strategy.experimental_distribute_values_from_function(
        lambda context: slices[2 * context.replica_id_in_sync_group :][:2]
    )
    found = tf.function(lambda x: strategy.run(lambda part: layer(part, training=True), args=(x,)))(dealt)
    dark, bright = (float(tf.reduce_mean(part)) for part in strategy.experimental_local_results(found))
    # Synchronised: mean 1/2, variance 1/4. Alone, each one's slices are all at its mean.
    expected = 0.5 / np.sqrt(0.25 + layer.epsilon) if synchronized else 0.0
    assert (dark, bright) == (pytest.approx(-expected, abs=1e-5), pytest.approx(expected, abs=1e-5))


@pytest.mark.parametrize("name, compiled", [("supervised", True), ("semi_cml", False), ("prel", False)])
def test_keras_fit_takes_the_same_steps(name, compiled):
    strategy = strategy_for(["cpu:0"])
    how = {"levels": 1, "burn_in": 0.0, "ramp": 0.0, "precision": "float64"}
    fitted = method_batches.method(name, **how)
    with strategy.scope():
        looped = method_batches.method(name, **how)
    data = [method_batches.batch(seed, dtype="float64") for seed in range(2)]
    step = (compiled_step if compiled else method_batches.eager_step)(looped, strategy)
    last = [step(element) for element in data][-1]
    dataset = tf.data.Dataset.from_generator(
        lambda: iter(data), output_signature=tf.nest.map_structure(tf.TensorSpec.from_tensor, data[0])
    )
    fitted.compile(run_eagerly=not compiled)
    history = fitted.fit(dataset, epochs=1, steps_per_epoch=len(data), verbose=0).history
    assert history["loss"][-1] == pytest.approx(float(last["loss"]), rel=1e-6)  # Keras keeps it in float32
    after = method_batches.weights(fitted)
    for key, arrays in method_batches.weights(looped).items():
        for one, other in zip(arrays, after[key], strict=True):
            np.testing.assert_allclose(other, one, rtol=1e-9, atol=1e-12, err_msg=key)
