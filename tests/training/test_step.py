"""The compiled step of 3-D networks gives the same bits again, so that a resumed run equals an uninterrupted run."""

import numpy as np

from semicml_tf.networks import catalogue
from semicml_tf.training.distributed.devices import strategy_for
from semicml_tf.training.step import compiled_step
from tests.support import method_batches


def test_steps_on_patches_repeat_bit_for_bit():
    """The patches are large enough that several threads share a convolution."""
    window, strategy = (16, 32, 32), strategy_for(["cpu:0"])
    spec = catalogue.specification("unet3d", window=window, width=4, spacing_mm=(6.0, 1.5, 1.5))
    with strategy.scope():
        method = method_batches.method("supervised", modalities=("ct",), spec=spec)
    step = compiled_step(method, strategy)
    variables = [weight for network in method.networks().values() for weight in network.weights]
    variables += method.student_optimizers["ct"].variables
    begin = [variable.numpy() for variable in variables]
    batches = [method_batches.batch(seed, 2, 0, modalities=("ct",), spatial=window) for seed in range(2)]
    results = []
    for _ in range(3):
        for variable, value in zip(variables, begin):
            variable.assign(value)
        losses = [float(step(batch)["loss"]) for batch in batches]
        results.append((losses, [variable.numpy() for variable in variables]))
    (losses, values), *others = results
    for other_losses, other_values in others:
        assert other_losses == losses
        for one, other in zip(values, other_values, strict=True):
            np.testing.assert_array_equal(one, other)
    assert any((one != other).any() for one, other in zip(values, begin, strict=True))
