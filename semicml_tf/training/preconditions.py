"""What must be right of the data, the folder and the devices before a training begins. No TensorFlow is needed."""

from __future__ import annotations

import pathlib
from typing import NoReturn

from semicml_tf.errors import UserError
from semicml_tf.input.complete_cases import own_cases, require_whole, whole_cases
from semicml_tf.methods import catalogue
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.runs import seen_cases
from semicml_tf.runs.config import TrainConfig
from semicml_tf.runs.run_folder import Run
from semicml_tf.runs.settings import TrainSettings
from semicml_tf.system import locks
from semicml_tf.training.distributed.cluster import Workers


def check(config: TrainConfig, info: DatasetInfo, workers: Workers, job: Workers) -> tuple[list[str], int]:
    """Checks all that needs no TensorFlow.

    Args:
        config: of the training.
        info: the converted data.
        workers: that train; the process alone in a dry run.
        job: workers that the environment describes.

    Returns:
        The partitions that are read, each once, and how many unlabelled cases are skipped.

    Raises:
        UserError: the config contradicts the data, the folder is not empty, or there are too many workers.
    """
    config.check_modalities(info.modalities)
    first = config.method[0]
    if catalogue.METHODS[first].needs_scores(config.method_settings) and not config.init_from:
        raise UserError(
            f"{first} begins with a choice by validation scores, and there are none yet",
            remedy="Train another stage first, start from a run with --init_from, or set --teacher_modality",
        )
    if not config.dry_run:
        _check_folder(config)
    if config.jit_compile and max(len(config.devices), workers.count) > 1:
        _refuse_xla(max(len(config.devices), workers.count))
    partitions, skipped = _check_cases(config, info)
    if config.worker_data == "own" and job.count > 1:
        # Each worker needs a shard of each stream for itself.
        for stream in (("labelled",), *([config.unlabelled_partitions] if _needs_unlabelled(config) else [])):
            own_cases(info, stream, (0, job.count))
    return partitions, skipped


def _check_folder(config: TrainConfig) -> None:
    folder = pathlib.Path(config.output)
    if not config.resume and folder.exists() and (not folder.is_dir() or locks.contents(folder)):
        raise UserError(
            "the run's folder is not empty",
            path=folder,
            remedy="Pass --resume to resume the run, or choose another --output",
        )


def _needs_unlabelled(config: TrainConfig) -> bool:
    return any(catalogue.METHODS[name].needs_unlabelled for name in config.method)


def _check_cases(config: TrainConfig, info: DatasetInfo) -> tuple[list[str], int]:
    unlabelled = config.unlabelled_partitions if _needs_unlabelled(config) else ()
    # One partition may feed both streams.
    partitions = list(dict.fromkeys(("labelled", *unlabelled, "validation")))
    for partition in partitions:
        info.cases(partition)
    require_whole(info, ("labelled", "validation"))
    _check_labelled(config, info)
    complete, lacking = whole_cases(info, unlabelled)
    if lacking:
        count = len(complete) + len(lacking)
        print(f"skipped {len(lacking)} of {count} unlabelled cases: a modality is missing")
    return partitions, len(lacking)


def _check_labelled(config: TrainConfig, info: DatasetInfo) -> None:
    """Mutual terms spread what a network learns. One labelled patient per modality is too little to start from."""
    mutual = [name for name in config.method if catalogue.METHODS[name].least_modalities > 1]
    for modality in info.modalities:
        count = sum(modality in info.modalities_of(case) for case in info.cases("labelled"))
        if count >= 2:
            continue
        if mutual:
            raise UserError(
                f"expected at least 2 labelled patients with {modality} for {', '.join(mutual)}, got {count}",
                path=info.location,
                remedy="Convert with more labelled patients, or train --method=supervised",
            )
        print(f"warning: {count} labelled patient with {modality}: its network will hardly generalise")


def check_initial(initial: Run, info: DatasetInfo, settings: TrainSettings) -> None:
    """Checks the run whose networks are the initial ones.

    Raises:
        UserError: its networks differ, or its training patients are scored in these data.
    """
    for what, theirs, ours in (
        ("modalities", initial.modalities, info.modalities),
        ("network", initial.spec.name, settings.network),
        ("window", initial.window, settings.window),
        ("width", initial.spec.width, settings.width),
        ("labels", *(one.described() if not one.is_plain else "one target" for one in (initial.labels, info.labels))),
    ):
        if theirs != ours:
            raise UserError(
                f"expected a run with the same {what} to begin with, got {theirs} for {ours}",
                path=initial.folder,
                remedy="Choose another --init_from, or set the flags to its values",
            )
    seen_cases.check(initial, info)


def check_replicas(config: TrainConfig, replicas: int) -> None:
    """Raises UserError if so many devices cannot share a step."""
    if config.jit_compile and replicas > 1:
        _refuse_xla(replicas)
    streams = [config.labelled_batch, *([config.unlabelled_batch] if _needs_unlabelled(config) else [])]
    if min(streams) < replicas:
        raise UserError(
            f"expected a slice of each stream for each of {replicas} devices, got {min(streams)}",
            remedy="Raise --labelled_batch and --unlabelled_batch, or name fewer --devices",
        )


def _refuse_xla(devices: int) -> NoReturn:
    raise UserError(
        f"--jit_compile works on one device, got {devices}",
        remedy="Leave it out, or train in one process with one device in --devices",
    )
