"""Our side of `benchmarks.step_speed`: takes as many steps as each line of its input says, answers in seconds."""

from __future__ import annotations

import json
import sys
import time
import types

from semicml_tf.system import quiet_import

STEPS_A_CALL = 4


def semi_cml(modalities, window: int, width: int, precision: str = "float32", statistics: str = "joint"):
    """The default's first stage as it is after its burn-in."""
    from semicml_tf.methods import catalogue
    from semicml_tf.methods.schedule import StagePlan
    from semicml_tf.methods.settings import MethodSettings
    from semicml_tf.networks.unet import unet

    # As in `step_of_torch`: no L2, and by default one call a network.
    how = MethodSettings(burn_in=0.0, batch_statistics=statistics, l2=0.0)
    plan = StagePlan(steps=100000, first_step=0, steps_per_epoch=100)
    return catalogue.stage_class("semi_cml")(
        modalities, lambda name: unet(window, width, name=name, precision=precision), how, plan, {}
    )


def _several(method, strategy):
    """Steps in one call of the graph, of which Python sees the last one's loss alone."""
    import tensorflow as tf

    @tf.function
    def steps(batch):
        loss = tf.constant(0.0)
        for _ in tf.range(STEPS_A_CALL):
            loss = strategy.run(method.train_step, args=(batch,))["loss"]
        return {"loss": loss}

    return steps


def main(window: int, width: int, labelled: int, unlabelled: int, precision: str, way: str = "") -> None:
    """Compiles the step, says so, and obeys."""
    tf = quiet_import.tensorflow()
    import keras

    from benchmarks.asc_cost import MODALITIES, batch
    from semicml_tf.training.distributed.devices import share_cores, strategy_for
    from semicml_tf.training.step import compiled_step

    sizes = types.SimpleNamespace(window=window, labelled=labelled, unlabelled=unlabelled)
    share_cores(len(MODALITIES))
    if way == "deterministic":
        tf.config.experimental.enable_op_determinism()
        keras.utils.set_random_seed(0)
    strategy = strategy_for(["cpu:0"])
    with strategy.scope():
        method = semi_cml(MODALITIES, window, width, precision, "each" if way == "each" else "joint")
    data = tf.nest.map_structure(tf.constant, batch(sizes))
    step = compiled_step(method, strategy, jit_compile=way == "jit_compile")
    if way == "several":
        step = _several(method, strategy)
    begin = time.perf_counter()
    float(step(data)["loss"])
    first = time.perf_counter() - begin
    for _ in range(2):
        float(step(data)["loss"])
    count = sum(int(tf.size(variable)) for variable in method.students["ct"].trainable_variables)
    print(json.dumps({"engine": f"TensorFlow {tf.__version__}", "parameters": count, "first_step": first}), flush=True)
    for line in sys.stdin:
        begin = time.perf_counter()
        for _ in range(int(line) // (STEPS_A_CALL if way == "several" else 1)):
            # As in training, which reads the loss of each step.
            float(step(data)["loss"])
        print(time.perf_counter() - begin, flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:5]), *sys.argv[5:])
