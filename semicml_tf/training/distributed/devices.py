"""The distribution strategy of a run, and how a batch is dealt to its replicas."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
from collections.abc import Mapping, Sequence

import tensorflow as tf

from semicml_tf.errors import UserError, first_line
from semicml_tf.system import cpu as cores
from semicml_tf.training.distributed.cluster import ALONE, Workers


def strategy_for(devices: Sequence[str], workers: Workers = ALONE) -> tf.distribute.Strategy:
    """A `MirroredStrategy` over the named devices, one CPU being the small case; with several workers, theirs together.

    Args:
        devices: of this process, like ``("gpu:0", "gpu:1")`` or ``("cpu:0", "cpu:1")``; none: all GPUs, else one
            CPU. More CPUs than the machine shows become logical devices, to try replicas without GPUs.
        workers: if more than one, waits until all of them are there; must then come before anything is computed.

    Raises:
        UserError: a device is not there, or the workers do not meet.
    """
    names = [name.lower().strip() for name in devices]
    kinds = {name.split(":")[0] for name in names}
    if len(kinds) > 1 or kinds - {"cpu", "gpu"}:
        raise UserError(f"expected devices all cpu:N or all gpu:N, got {', '.join(names)}", remedy="Correct --devices")
    if len(set(names)) < len(names):
        raise UserError(f"a device is named twice in {', '.join(names)}", remedy="Correct --devices")
    if workers.count > 1:
        return _across_workers(names)
    if kinds == {"cpu"}:
        _make_logical_cpus(len(names))
    known = [device.name.split("device:")[-1].lower() for device in tf.config.list_logical_devices()]
    if not names:
        names = [name for name in known if name.startswith("gpu")] or ["cpu:0"]
    _require(names, known)
    return _mirrored(tuple(names))


def share_cores(networks: int) -> None:
    """Where there is no more than a core a network, gives each network's operations one, rather than all of them both.

    Networks wait for each other at the losses alone. With a core each, none splits its operations, and none waits for
    the others' threads. Must come before TensorFlow starts; what its own environment variables say goes first.

    Args:
        networks: that learn side by side.
    """
    told = {"TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"} & os.environ.keys()
    if told or cores.available() > networks or tf.config.list_physical_devices("GPU"):
        return
    with contextlib.suppress(RuntimeError):  # TensorFlow has started, in a program that trains more than once
        tf.config.threading.set_inter_op_parallelism_threads(cores.available())
        tf.config.threading.set_intra_op_parallelism_threads(1)


def _require(names: Sequence[str], known: Sequence[str]) -> None:
    missing = [name for name in names if name not in known]
    if missing:
        raise UserError(
            f"expected devices among {', '.join(known)}, got {', '.join(missing)}", remedy="Correct --devices"
        )


# Above the number of collectives that a program builds.
_COLLECTIVES = 100_000
_groups = itertools.count()


@functools.cache
def _mirrored(names: tuple[str, ...]) -> tf.distribute.MirroredStrategy:
    # One for each set of devices and process: the runtime remembers collectives by number, and a second
    # strategy would count from the start again and meet the first one's shapes.
    class Mirrored(tf.distribute.MirroredStrategy):
        # Where another set's numbers cannot be; TensorFlow's own tests of several sets in a process do likewise.
        _collective_key_base = next(_groups) * _COLLECTIVES

    return Mirrored(devices=[f"/{name}" for name in names])


def _across_workers(names: Sequence[str]) -> tf.distribute.MultiWorkerMirroredStrategy:
    """Each worker's visible GPUs, or its CPU; the strategy takes all that it sees."""
    gpus = tf.config.list_physical_devices("GPU")
    _require(names, [*(f"gpu:{number}" for number in range(len(gpus))), "cpu:0"])
    if names:
        wanted = [int(name.split(":")[1]) for name in names if name.startswith("gpu")]
        tf.config.set_visible_devices([gpus[number] for number in wanted], "GPU")
    try:
        # No timeout: each collective of each step would start a thread that sleeps as long as that.
        return tf.distribute.MultiWorkerMirroredStrategy()
    except (RuntimeError, ValueError, TypeError, tf.errors.OpError) as error:
        raise UserError(
            f"the workers of TF_CONFIG did not meet ({first_line(error)})",
            remedy="Start all of them, each with its own task index, and let them reach each other's ports",
        ) from error


def _make_logical_cpus(count: int) -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        if len(tf.config.get_logical_device_configuration(cpu) or ()) < count:
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    except RuntimeError as error:  # TensorFlow has started: the devices are as they are.
        if len(tf.config.list_logical_devices("CPU")) < count:
            raise UserError("logical CPUs must be asked for before TensorFlow starts") from error


def own_part(batch: Mapping, strategy: tf.distribute.Strategy, sizes: Mapping[str, int] | None = None):
    """A batch dealt to this process's replicas, in order; streams of unlike size are each dealt evenly.

    Args:
        batch: nested tensors by stream.
        sizes: of the global batch's streams, where `batch` is this worker's part of it alone.
    """
    count = strategy.num_replicas_in_sync
    if count == 1:
        return batch

    def part(context):
        number = context.replica_id_in_sync_group

        def dealt(stream, size):
            # What comes before this worker's part is not in it.
            before = 0 if sizes is None else size * _first_replica(strategy) // count
            begin, end = (size * edge // count - before for edge in (number, number + 1))
            return tf.nest.map_structure(lambda x: x[begin:end], stream)

        return {name: dealt(stream, sizes[name] if sizes else _size(stream)) for name, stream in batch.items()}

    return strategy.experimental_distribute_values_from_function(part)


def _size(stream) -> int:
    return tf.nest.flatten(stream)[0].shape[0]


def _first_replica(strategy: tf.distribute.Strategy) -> int:
    workers = Workers.from_environment()
    return strategy.num_replicas_in_sync // workers.count * workers.number
