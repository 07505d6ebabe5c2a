"""A run's plan for people, and one step of each stage to see that it can be taken."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

import tensorflow as tf

from semicml_tf.methods import catalogue
from semicml_tf.methods.base import Method
from semicml_tf.networks.spec import spatial_of
from semicml_tf.records.dataset import CaseEntry, DatasetInfo
from semicml_tf.runs.settings import TrainSettings
from semicml_tf.training import memory
from semicml_tf.training.monitoring.progress import losses_text
from semicml_tf.training.stages import Stages
from semicml_tf.training.step import Means

_MIB = 2**20


def report(
    info: DatasetInfo,
    train: TrainSettings,
    stages: Stages,
    strategy: tf.distribute.Strategy,
    *,
    partitions: Sequence[str],
    scores: Mapping[str, float],
    workers: int = 1,
) -> Iterator[str]:
    """The plan, line by line as it becomes known: data, stages, networks, memory, and two steps of each stage.

    Nothing is written, no test patient is read, and networks are new: a stage after the first, which may choose its
    teacher by validation, gets made-up scores.

    Args:
        stages: of the run.
        partitions: that it reads.
        scores: best mean validation Dice by modality that the run begins with, if any.
        workers: of the job that this one process stands for.

    Raises:
        UserError: a step cannot be taken.
    """
    yield f"data: {info.location}, hash {info.data_hash[:12]}, modalities {', '.join(info.modalities)}"
    for partition in partitions:
        yield f"  {partition}: {_described(info.cases(partition))}"
    replicas = strategy.num_replicas_in_sync
    devices = ", ".join(_short(name) for name in strategy.extended.worker_devices)
    yield f"devices: {devices}; {replicas} replica{'s' if replicas > 1 else ''} in all, {train.precision}"
    if workers > 1:
        yield f"  the job has {workers} workers; what follows is for one process alone with the batch of all of them"
    inputs = "patches" if len(spatial_of(train.window)) == 3 else "slices"
    made_up = {name: 0.5 for name in info.modalities}
    for number, name in enumerate(train.method):
        plan, sizes = stages.plan(number), stages.sizes(number)
        slices = " + ".join(f"{size} {stream}" for stream, size in sizes.items() if size)
        yield (
            f"stage {number + 1} of {len(train.method)}, {name} ({catalogue.METHODS[name].help}): "
            f"{train.epochs[number]} epochs of {plan.steps_per_epoch} steps, {slices} {inputs} of "
            f"{' x '.join(map(str, spatial_of(train.window)))} each"
        )
        with memory.explained(), strategy.scope():
            built = stages.build(number, made_up if number else scores)
            built.begin()
        yield from _networks(built)
        held = memory.held_bytes(built)
        step = memory.step_bytes(built, -(-sum(sizes.values()) // replicas))
        yield (
            f"  memory, an estimate for each device: variables {held / _MIB:.0f} MiB, their gradients and features "
            f"{step / _MIB:.0f} MiB"
        )
        memory.check(built, sum(sizes.values()), strategy)
        yield from _tried(stages, number, built, strategy)
    yield f"in all {stages.total_steps} steps; nothing was written"


def _described(cases: Sequence[CaseEntry]) -> str:
    slices = sum(case.shape[0] for case in cases)
    text = f"{len(cases)} patients, {slices} slices"
    if all(case.lesion_slices is not None for case in cases):
        text += f", {sum(case.lesion_slices for case in cases)} with lesion"
    return text


def _networks(method: Method) -> Iterator[str]:
    for name, student in method.students.items():
        yield f"  network {name}: {student.count_params():,} parameters, input {_shape(student.inputs[0])}"
    others = {key: network for key, network in method.networks().items() if not key.startswith("student/")}
    if others:
        kinds = dict.fromkeys(key.split("/")[0] for key in others)
        count = sum(network.count_params() for network in others.values())
        yield f"  beside them: {', '.join(kinds)}; {count:,} parameters"


def _shape(tensor) -> str:
    return " x ".join("slices" if length is None else str(length) for length in tensor.shape)


def _tried(stages: Stages, number: int, method: Method, strategy: tf.distribute.Strategy) -> Iterator[str]:
    step, source = stages.step(number, method), iter(stages.batches(number, 0))
    seconds, means = [], Means()
    with memory.explained():
        for _ in range(2):
            begin = time.perf_counter()
            means.add(step(next(source)), lambda: "a step of the dry run")
            seconds.append(time.perf_counter() - begin)
    used, where = memory.used_bytes(_short(strategy.extended.worker_devices[0]))
    minutes = seconds[1] * stages.plan(number).steps / 60
    yield (
        f"  tried: {losses_text(means.values())}; first step {seconds[0]:.1f} s, second {seconds[1]:.2f} s: about "
        f"{minutes:.1f} minutes for the stage, without validation; up to {used / _MIB:.0f} MiB of {where} used"
    )


def _short(device: str) -> str:
    """``/job:.../device:CPU:0`` as ``--devices`` has it: ``cpu:0``."""
    return device.split("device:")[-1].lower()
