"""What the ASC loss costs in a training step: its forward and backward pass beside a whole step of Semi-CML.

    python -m benchmarks.asc_cost --window=160 --width=32 --labelled=30 --unlabelled=26

Both compiled, on random slices, on the default device; the least of the rounds counts, so that other work on the
machine shows least.
"""

from __future__ import annotations

import dataclasses
import time

import numpy as np
from absl import flags

from benchmarks import sizes
from semicml_tf import commandline
from semicml_tf.methods.settings import MethodSettings
from semicml_tf.system import cpu, quiet_import

MODALITIES = ("ct", "pet")


def define_flags(values: flags.FlagValues) -> None:
    """The command's flags."""
    sizes.define(values)
    flags.DEFINE_integer("rounds", 7, "Measurements of each; the least counts.", lower_bound=1, flag_values=values)


def least_seconds(call, rounds: int) -> float:
    """The least time of a call after a first one that compiles it."""
    call()
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return min(times)


def batch(values: flags.FlagValues):
    """Random slices as `input.semi_supervised_batches` yields them."""
    rng = np.random.default_rng(0)

    def stream(count):
        shape = (count, values.window, values.window, 1)
        image = {name: rng.normal(size=shape).astype(np.float32) for name in MODALITIES}
        label = (rng.uniform(size=shape) > 0.9).astype(np.float32)
        numbers = np.arange(count, dtype=np.int32)
        return {"image": image, "label": label, "patient": numbers // 2, "seed": numbers}

    return {"labelled": stream(values.labelled), "unlabelled": stream(values.unlabelled)}


def main(values: flags.FlagValues) -> None:
    """Runs the command."""
    tf = quiet_import.tensorflow()

    from semicml_tf.losses.asc import asc_loss
    from semicml_tf.methods import catalogue
    from semicml_tf.methods.schedule import StagePlan
    from semicml_tf.networks.unet import unet

    how = dataclasses.replace(MethodSettings(), asc_weight=3.5, burn_in=0.0)
    plan = StagePlan(steps=1000, first_step=0, steps_per_epoch=100)
    method = catalogue.stage_class("semi_cml")(
        MODALITIES, lambda name: unet(values.window, values.width, name=name), how, plan, {}
    )
    data = tf.nest.map_structure(tf.constant, batch(values))
    step = tf.function(method.train_step)
    patients = data["unlabelled"]["patient"]
    maps = [tf.random.uniform(data["unlabelled"]["image"][name].shape, seed=0) for name in MODALITIES]

    @tf.function
    def loss_and_gradient():
        with tf.GradientTape() as tape:
            tape.watch(maps)
            loss = asc_loss(*maps, patients, negatives=how.asc_negatives, empty=how.asc_empty)
        return loss, tape.gradient(loss, maps)

    whole = least_seconds(lambda: step(data)["loss"].numpy(), values.rounds)
    loss = least_seconds(lambda: loss_and_gradient()[0].numpy(), values.rounds)
    device = (tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU"))[0].name
    print(
        f"ASC {1e3 * loss:.2f} ms of a step of {1e3 * whole:.0f} ms: {100 * loss / whole:.2f} % "
        f"({values.labelled} + {values.unlabelled} slices of {values.window}x{values.window}, width {values.width}; "
        f"{device.removeprefix('/device:')}, {cpu.described()}, TensorFlow {tf.__version__})"
    )


if __name__ == "__main__":
    commandline.run(__spec__.name)
