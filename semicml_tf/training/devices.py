"""The distribution strategy of a run."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import tensorflow as tf

from semicml_tf.errors import UserError


def strategy_for(devices: Sequence[str]) -> tf.distribute.MirroredStrategy:
    """A `MirroredStrategy` over the named devices; one CPU is the small case.

    Args:
        devices: like ``("gpu:0", "gpu:1")`` or ``("cpu:0", "cpu:1")``; none: all GPUs, else one CPU.
            More CPUs than the machine shows become logical devices, to try replicas without GPUs.

    Raises:
        UserError: a device is not there.
    """
    names = [name.lower().strip() for name in devices]
    kinds = {name.split(":")[0] for name in names}
    if len(kinds) > 1 or kinds - {"cpu", "gpu"}:
        raise UserError(f"expected devices all cpu:N or all gpu:N, got {', '.join(names)}", remedy="Correct --devices")
    if kinds == {"cpu"}:
        _make_logical_cpus(len(names))
    known = [device.name.split("device:")[-1].lower() for device in tf.config.list_logical_devices()]
    if not names:
        names = [name for name in known if name.startswith("gpu")] or ["cpu:0"]
    missing = [name for name in names if name not in known]
    if missing:
        raise UserError(
            f"expected devices among {', '.join(known)}, got {', '.join(missing)}", remedy="Correct --devices"
        )
    return _mirrored(tuple(names))


@functools.cache
def _mirrored(names: tuple[str, ...]) -> tf.distribute.MirroredStrategy:
    # One for each set of devices and process: the runtime remembers collectives by number, and a second
    # strategy would count from the start again and meet the first one's shapes.
    return tf.distribute.MirroredStrategy(devices=[f"/{name}" for name in names])


def _make_logical_cpus(count: int) -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        if len(tf.config.get_logical_device_configuration(cpu) or ()) < count:
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    except RuntimeError as error:  # TensorFlow has started: the devices are as they are.
        if len(tf.config.list_logical_devices("CPU")) < count:
            raise UserError("logical CPUs must be asked for before TensorFlow starts") from error


def own_part(tree, strategy: tf.distribute.Strategy):
    """A global batch dealt to the replicas, in order; streams of unlike size are each dealt evenly."""
    count = strategy.num_replicas_in_sync
    if count == 1:
        return tree

    def part(context):
        number = context.replica_id_in_sync_group
        return tf.nest.map_structure(
            lambda x: x[x.shape[0] * number // count : x.shape[0] * (number + 1) // count], tree
        )

    return strategy.experimental_distribute_values_from_function(part)
