"""Where the time of a Semi-CML step goes, by TensorFlow's profiler: milliseconds of all cores together, by operation.

    python -m benchmarks.step_profile

Where each operation has one thread, beside it how fast the convolutions are, and how fast a large matrix product is.
"""

from __future__ import annotations

import collections
import math
import pathlib
import tempfile
import time

from absl import flags

from benchmarks import sizes
from semicml_tf import commandline
from semicml_tf.system import cpu, quiet_import

# What the profiler calls an operation, by what it does for the networks.
KINDS = {
    "convolutions": ("Conv2D", "Conv2DBackprop"),
    "batch normalisation": ("FusedBatchNorm",),
    "ReLU, pooling, skips, biases": ("Relu", "MaxPool", "Concat", "Slice", "BiasAdd"),
    "Adam": ("ResourceApplyAdam",),
}
REST = "losses, moving averages, L2, what is logged"
# Spans that hold others begin so.
_FRAMES = ("Process", "Run", "Eager", "TFE_Py", "ExecutorDone", "FunctionRun", "__inference")


def define_flags(values: flags.FlagValues) -> None:
    """The command's flags."""
    sizes.define(values)
    flags.DEFINE_integer("steps", 10, "Steps that are watched.", lower_bound=1, flag_values=values)
    flags.DEFINE_list("precisions", ["float32", "bfloat16"], "Of the features.", flag_values=values)


def kind_of(operation: str) -> str:
    """The row that an operation belongs to."""
    return next((kind for kind, names in KINDS.items() if any(name in operation for name in names)), REST)


def watched(step, data, steps: int) -> tuple[collections.Counter, float]:
    """Milliseconds a step by kind, and by the clock."""
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        for _ in range(steps):
            float(step(data)["loss"])
        tf.profiler.experimental.stop()
        space = xplane_pb2.XSpace()
        space.ParseFromString(next(pathlib.Path(folder).rglob("*.xplane.pb")).read_bytes())
    spent: collections.Counter = collections.Counter()
    clock = 0.0
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name
                milliseconds = event.duration_ps / 1e9 / steps
                if name == "EagerKernelExecute":
                    clock += milliseconds
                elif ":" in name and not (kind := name.rpartition(":")[2].strip()).startswith(_FRAMES):
                    spent[kind_of(kind)] += milliseconds
    return spent, clock


def convolutions_gflop(network) -> float:
    """Of a slice in a step, 10^9: each convolution forward, and back to its input, if that learns, and its weights."""
    total = 0
    for layer in network.layers:
        if "Conv2D" in type(layer).__name__:
            # A transposed one has its channels the other way round, and as many products as its mirror image.
            forward = 2 * math.prod(layer.input.shape[1:3]) * math.prod(layer.kernel.shape)
            total += forward * (2 if layer.input.shape[-1] == 1 else 3)
    return total / 1e9


def product_gflops(precision: str, side: int = 2048) -> float:
    """10^9 operations a second of a product of two square matrices; the best of a few."""
    import tensorflow as tf

    matrix = tf.cast(tf.random.normal((side, side)), precision)
    seconds = []
    for _ in range(5):
        begin = time.perf_counter()
        tf.linalg.matmul(matrix, matrix)[0, 0].numpy()
        seconds.append(time.perf_counter() - begin)
    return 2 * side**3 / min(seconds) / 1e9


def main(values: flags.FlagValues) -> None:
    """Runs the command."""
    tf = quiet_import.tensorflow()

    from benchmarks.asc_cost import MODALITIES, batch
    from benchmarks.step_of_ours import semi_cml
    from semicml_tf.training.distributed.devices import share_cores, strategy_for
    from semicml_tf.training.step import compiled_step

    share_cores(len(MODALITIES))
    strategy = strategy_for(["cpu:0"])
    for precision in values.precisions:
        with strategy.scope():
            method = semi_cml(MODALITIES, values.window, values.width, precision)
        data = tf.nest.map_structure(tf.constant, batch(values))
        step = compiled_step(method, strategy)
        for _ in range(3):
            float(step(data)["loss"])
        spent, clock = watched(step, data, values.steps)
        total = sum(spent.values())
        print(
            f"{precision}: {clock:.0f} ms a step by the clock, {total / clock:.2f} of {cpu.available()} cores at work"
        )
        print(f"\n{cpu.described()}")
        print("\n| operations | ms of all cores | share |\n|---|---|---|")
        for kind in (*KINDS, REST):
            print(f"| {kind} | {spent[kind]:.0f} | {100 * spent[kind] / total:.0f} % |")
        if tf.config.threading.get_intra_op_parallelism_threads() == 1:  # else an operation's time is of several cores
            slices = values.labelled + values.unlabelled
            work = slices * sum(convolutions_gflop(network) for network in method.students.values())
            print(
                f"\nconvolutions: {work:.0f} GFLOP a step, {1000 * work / spent['convolutions']:.0f} GFLOP/s a core; "
                f"a matrix product: {product_gflops(precision):.0f}"
            )
        print(flush=True)


if __name__ == "__main__":
    commandline.run("benchmarks.step_profile")
