"""How much memory a run needs: what can be told beforehand, and what was used."""

from __future__ import annotations

import contextlib
import math
import os
import resource

import tensorflow as tf

from semicml_tf.errors import UserError
from semicml_tf.methods.base import Method

_REMEDY = "Lower --labelled_batch, --unlabelled_batch, --window or --width, or pass --precision=bfloat16"
# The estimate counts all features at once; a step may hold a part of them at a time.
_FAR_ABOVE = 4


def _bytes(variables) -> int:
    return sum(math.prod(variable.shape) * tf.as_dtype(variable.dtype).size for variable in variables)


def held_bytes(method: Method) -> int:
    """Bytes of a stage's variables on each replica: networks, moving averages, companions, optimisers."""
    networks = [weight for network in method.networks().values() for weight in network.weights]
    return _bytes(networks) + sum(_bytes(optimizer.variables) for optimizer in method.student_optimizers.values())


def step_bytes(method: Method, slices: int) -> int:
    """Bytes that gradients take in a step, and all layers' outputs in all networks that learn, about.

    Args:
        slices: of a step on one replica.
    """
    total = 0
    for network in (*method.students.values(), *(n for held in method.companions.values() for n in held.values())):
        total += _bytes(network.trainable_variables)
        for layer in network.layers:
            size = tf.as_dtype(layer.compute_dtype).size
            for output in tf.nest.flatten(layer.output):
                total += slices * size * math.prod(length for length in output.shape if length is not None)
    return total


def check(method: Method, slices: int, strategy: tf.distribute.Strategy) -> None:
    """Refuses a step that needs far more memory than the machine has: the system would kill the process.

    Args:
        method: of the stage.
        slices: of a step, over all replicas.
        strategy: of the run. A GPU reports by itself that its memory does not suffice.

    Raises:
        UserError: the estimate is more than `_FAR_ABOVE` times the RAM.
    """
    replicas, ram = strategy.num_replicas_in_sync, _ram_bytes()
    needed = held_bytes(method) + step_bytes(method, -(-slices // replicas))
    if "CPU" in strategy.extended.worker_devices[0].upper() and needed > _FAR_ABOVE * ram:
        raise UserError(
            f"a step needs about {needed / 2**30:.0f} GiB of memory, and this machine has {ram / 2**30:.0f} GiB",
            remedy=_REMEDY,
        )


def _ram_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def used_bytes(device: str) -> tuple[int, str]:
    """The most that was used, and of what: a GPU's memory since this was last asked, or RAM since the process began.

    Args:
        device: like ``"gpu:0"`` or ``"cpu:0"``.
    """
    if device.startswith("gpu"):
        peak = tf.config.experimental.get_memory_info(device.upper())["peak"]
        tf.config.experimental.reset_memory_stats(device.upper())
        return peak, device
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, "RAM"


@contextlib.contextmanager
def explained():
    """Turns what TensorFlow raises where a device's memory does not suffice into one line."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise UserError(
            "a step needs more memory than the device has",
            remedy=_REMEDY,
        ) from error
