"""This package's side of `benchmarks.step_speed`: runs as many steps as each line of its input requests."""

from __future__ import annotations

import sys

import numpy as np

from benchmarks.on_request import repeat_on_request
from semicml_tf.system import quiet_import

NAMES = ("ct", "pet", "mr", "us")


def semi_cml(modalities, window, width: int, precision: str = "float32", classes: int = 1):
    """The first stage of the default method, after its burn-in, with `classes` regions.

    Args:
        window: side of the slices, or (slices, rows, columns) of patches.
    """
    from semicml_tf.methods import catalogue
    from semicml_tf.methods.catalogue import MethodSettings
    from semicml_tf.methods.schedule import StagePlan
    from semicml_tf.networks import catalogue as networks

    # As in `step_of_torch`: no L2, and one call per network.
    how = MethodSettings(burn_in=0.0, batch_statistics="joint", l2=0.0)
    plan = StagePlan(steps=100000, first_step=0, steps_per_epoch=100)
    name = "unet" if isinstance(window, int) else "unet3d"
    spec = networks.specification(name, window=window, width=width, classes=classes)
    return catalogue.stage_class("semi_cml")(
        modalities, lambda name: networks.build(spec, name=name, precision=precision), how, plan, {}
    )


def batch(modalities, window, labelled: int, unlabelled: int, classes: int = 1) -> dict:
    """A batch of random slices or patches, in the form of `input.semi_supervised_batches`."""
    from semicml_tf.networks.spec import spatial_of

    rng = np.random.default_rng(0)

    def stream(count):
        shape = (count, *spatial_of(window), 1)
        image = {name: rng.normal(size=shape).astype(np.float32) for name in modalities}
        label = (rng.uniform(size=(*shape[:-1], classes)) > 0.9).astype(np.float32)
        numbers = np.arange(count, dtype=np.int32)
        return {"image": image, "label": label, "patient": numbers // 2, "seed": numbers}

    return {"labelled": stream(labelled), "unlabelled": stream(unlabelled)}


def main(
    size: str, width: int, labelled: int, unlabelled: int, precision: str, count: str = "2", classes: str = "1"
) -> None:
    """Compiles the step of `count` modalities and `classes` regions, prints a line, and then runs steps on request.

    Args:
        size: side of the slices, or slices, rows and columns of the patches, separated by commas.
    """
    window = int(size) if size.isdigit() else tuple(map(int, size.split(",")))
    modalities = NAMES[: int(count)]
    tf = quiet_import.tensorflow()

    from semicml_tf.training.distributed.devices import share_cores, strategy_for
    from semicml_tf.training.step import compiled_step

    share_cores(len(modalities))
    strategy = strategy_for(["cpu:0"])
    with strategy.scope():
        method = semi_cml(modalities, window, width, precision, int(classes))
    data = tf.nest.map_structure(tf.constant, batch(modalities, window, labelled, unlabelled, int(classes)))
    step = compiled_step(method, strategy)
    for _ in range(3):
        float(step(data)["loss"])
    parameters = sum(int(tf.size(variable)) for variable in method.students["ct"].trainable_variables)
    facts = {"engine": f"TensorFlow {tf.__version__}", "parameters": parameters}
    # Training reads the loss of each step, too.
    repeat_on_request(facts, lambda: float(step(data)["loss"]))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]), *sys.argv[5:])
