"""Two and four replicas take the step that one takes on the same global batch; `fit` takes the loop's steps."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from semicml_tf.methods import catalogue
from semicml_tf.networks.batch_norm import BatchNormalization
from semicml_tf.training.devices import strategy_for
from semicml_tf.training.stage import compiled_step
from tests import method_batches

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
    "semi_cml_joint": ("semi_cml", {"batch_statistics": "joint", "mse_weight": 1.0}),
}
# As heavy as the labelled loss, so that a term of its own part alone would show.
BASELINES = {"unlabelled_weight": 10.0, "unlabelled_ramp": 0.0}
CASES |= {name: (name, BASELINES) for name in catalogue.METHODS if name not in ("supervised", "semi_cml", "prel")}
# A level of the U-Net has all that replicas could get wrong, and its graph is built in a tenth of the time; one case
# has skips and up-sampling, one needs the coarser scales.
LEVELS = {"semi_cml_paper": 3, "urpc": 3}


# Batches of the deeper networks whose features keep off the kink of ReLU: a pixel that rounding puts on its other side
# changes a gradient by far more than rounding.
SEEDS = {"semi_cml_paper": (2, 3), "urpc": (2, 3)}


def _train(devices, name, settings, sizes, levels=1, seeds=(0, 1)):
    strategy = strategy_for(devices)
    with strategy.scope():
        method = method_batches.method(name, levels=levels, synchronized=len(devices) > 1, **COMMON, **settings)
    step = compiled_step(method, strategy)
    # The first batch comes again, to see what was learnt of it.
    told = [step(method_batches.batch(seed, *sizes)) for seed in (*seeds, seeds[0])]
    losses = [float(terms["loss"]) for terms in told]
    norms = [float(terms[f"gradient_norm_{name}"]) for terms in told for name in method.modalities]
    return losses, norms, {key: network.get_weights() for key, network in method.networks().items()}


@functools.cache
def _alone(case):
    name, settings = CASES[case]
    return _train(["cpu:0"], name, settings, _sizes(name), LEVELS.get(case, 1), SEEDS.get(case, (0, 1)))


def _sizes(name):
    # Streams of unlike size, as in the paper's batch of 30 + 26; four replicas get parts of unlike size.
    return (6, 0) if name == "supervised" else (6, 4)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_replicas_equal_one(case, count):
    name, settings = CASES[case]
    one_losses, one_norms, one = _alone(case)
    devices = [f"cpu:{number}" for number in range(count)]
    losses, norms, several = _train(devices, name, settings, _sizes(name), LEVELS.get(case, 1), SEEDS.get(case, (0, 1)))
    np.testing.assert_allclose(losses, one_losses, rtol=2e-5)
    np.testing.assert_allclose(norms, one_norms, rtol=2e-4)
    # (PReL's labels change meanwhile.)
    assert name == "prel" or one_losses[2] < one_losses[0]
    for key in one:
        for a, b in zip(one[key], several[key]):
            np.testing.assert_allclose(b, a, rtol=2e-4, atol=2e-5, err_msg=key)


@pytest.mark.parametrize("synchronized", [True, False])
def test_statistics_are_of_all_replicas_or_of_each_one(synchronized):
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


def test_the_steps_moved_the_weights():
    """The comparison above would hold for a method that does nothing."""
    start = method_batches.method("semi_cml", levels=1, **COMMON).networks()["student/ct"].get_weights()
    *_, end = _train(["cpu:0"], "semi_cml", {}, (6, 4))
    assert max(np.abs(a - b).max() for a, b in zip(start, end["student/ct"])) > 1e-3


@pytest.mark.parametrize("name", ["supervised", "semi_cml", "prel"])
def test_fit_drives_the_same_step(name):
    def fresh():
        return method_batches.method(name, levels=1, burn_in=0.0, ramp=0.0)

    data = [method_batches.batch(seed) for seed in range(3)]
    looped, fitted = fresh(), fresh()
    strategy = strategy_for(["cpu:0"])
    with strategy.scope():
        looped = fresh()
    step = compiled_step(looped, strategy)
    last = [step(element) for element in data][-1]
    dataset = tf.data.Dataset.from_generator(
        lambda: iter(data), output_signature=tf.nest.map_structure(tf.TensorSpec.from_tensor, data[0])
    )
    fitted.compile()
    history = fitted.fit(dataset, epochs=1, steps_per_epoch=3, verbose=0).history
    assert history["loss"][-1] == pytest.approx(float(last["loss"]), rel=1e-6)
    for key, network in looped.networks().items():
        for a, b in zip(network.get_weights(), fitted.networks()[key].get_weights()):
            np.testing.assert_array_equal(a, b, err_msg=key)
