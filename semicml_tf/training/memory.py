"""How much memory a run needs: what can be told beforehand, and what was used."""

from __future__ import annotations

import math
import resource

import tensorflow as tf

from semicml_tf.methods.base import Method


def _bytes(variables) -> int:
    return sum(math.prod(variable.shape) * tf.as_dtype(variable.dtype).size for variable in variables)


def held_bytes(method: Method) -> int:
    """Bytes of a stage's variables on each replica: networks, moving averages, companions, optimisers."""
    networks = [weight for network in method.networks().values() for weight in network.weights]
    return _bytes(networks) + sum(_bytes(optimizer.variables) for optimizer in method.student_optimizers.values())


def step_bytes(method: Method, slices: int) -> int:
    """Bytes that the students' gradients and all their layers' outputs take in a step, about.

    Args:
        slices: of a step on one replica.
    """
    total = 0
    for student in method.students.values():
        total += _bytes(student.trainable_variables)
        for layer in student.layers:
            size = tf.as_dtype(layer.compute_dtype).size
            total += slices * size * math.prod(length for length in layer.output.shape if length is not None)
    return total


def used_bytes(device: str) -> tuple[int, str]:
    """The most that was used so far, and of what: a GPU's memory, or what the process has had in RAM.

    Args:
        device: like ``"gpu:0"`` or ``"cpu:0"``.
    """
    if device.startswith("gpu"):
        return tf.config.experimental.get_memory_info(device.upper())["peak"], device
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, "RAM"
