"""What must be right of the data, the folder and the devices before a training begins. No TensorFlow is needed."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import pathlib
from collections.abc import Sequence
from typing import NoReturn

from semicml_tf.errors import UserError
from semicml_tf.input.complete_cases import lacking, own_cases, training_cases
from semicml_tf.methods import catalogue
from semicml_tf.records.dataset import CaseEntry, DatasetInfo
from semicml_tf.runs.config import TrainConfig
from semicml_tf.system import locks
from semicml_tf.training.distributed.cluster import Workers


@dataclasses.dataclass(frozen=True)
class CheckedData:
    """What a training reads of the data.

    Attributes:
        partitions: the partitions, each once.
        left_out: number of skipped unlabelled cases.
        incomplete: whether a case that may train lacks a modality.
    """

    partitions: list[str]
    left_out: int
    incomplete: bool


def check(config: TrainConfig, info: DatasetInfo, workers: Workers, job: Workers) -> CheckedData:
    """Checks all that needs no TensorFlow.

    Args:
        config: of the training.
        info: the converted data.
        workers: that train; the process alone in a dry run.
        job: workers that the environment describes.

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
    data = _check_cases(config, info)
    if config.worker_data == "own" and job.count > 1:
        # Each worker needs a shard of each stream for itself.
        for stream in (("labelled",), *([config.unlabelled_partitions] if _needs_unlabelled(config) else [])):
            own_cases(info, stream, (0, job.count), config.incomplete_cases)
    return data


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


def _check_cases(config: TrainConfig, info: DatasetInfo) -> CheckedData:
    streams = {"labelled": ("labelled",)}
    if _needs_unlabelled(config):
        streams["unlabelled"] = config.unlabelled_partitions
    # One partition may feed both streams.
    partitions = list(dict.fromkeys(name for names in (*streams.values(), ("validation",)) for name in names))
    every = {stream: [case for name in names for case in info.cases(name)] for stream, names in streams.items()}
    kept = {stream: training_cases(info, names, config.incomplete_cases) for stream, names in streams.items()}
    _check_labelled(config, info, kept["labelled"])
    if "unlabelled" in kept:
        _check_unlabelled(config, info, kept["unlabelled"])
    validation = info.cases("validation")
    _require_each_modality(info, validation, "validation")
    for stream, cases in (*kept.items(), ("validation", validation)):
        skipped = len(every.get(stream, cases)) - len(cases)
        if skipped:
            print(f"skipped {skipped} of {len(every[stream])} {stream} cases: a modality is missing")
        elif any(lacking(info, case) for case in cases):
            print(f"{stream} patients: {len(cases)}; {_counts(info, cases)}")
    return CheckedData(
        partitions,
        left_out=len(every.get("unlabelled", ())) - len(kept.get("unlabelled", ())),
        incomplete=any(lacking(info, case) for cases in every.values() for case in cases),
    )


def _with_modality(info: DatasetInfo, cases: Sequence[CaseEntry]) -> dict[str, int]:
    """The number of cases that have a modality, by modality."""
    counts = collections.Counter(name for case in cases for name in info.modalities_of(case))
    return {name: counts[name] for name in info.modalities}


def _counts(info: DatasetInfo, cases: Sequence[CaseEntry]) -> str:
    complete = sum(not lacking(info, case) for case in cases)
    with_modality = ", ".join(f"{count} with {name}" for name, count in _with_modality(info, cases).items())
    return f"{with_modality}, {complete} with all modalities"


def _check_labelled(config: TrainConfig, info: DatasetInfo, cases: Sequence[CaseEntry]) -> None:
    """Mutual terms spread what a network learns. One labelled patient per modality is too little to start from."""
    _require_each_modality(info, cases, "labelled")
    mutual = _mutual(config)
    for modality, count in _with_modality(info, cases).items():
        if count >= 2:
            continue
        if mutual:
            raise UserError(
                f"expected at least 2 labelled patients with {modality} for {', '.join(mutual)}, got {count}",
                path=info.location,
                remedy="Convert with more labelled patients, or train --method=supervised",
            )
        print(f"warning: {count} labelled patient with {modality}: its network will hardly generalise")


def _mutual(config: TrainConfig) -> list[str]:
    return [name for name in config.method if catalogue.METHODS[name].least_modalities > 1]


def _require_each_modality(info: DatasetInfo, cases: Sequence[CaseEntry], stream: str) -> None:
    """Raises UserError if a modality is missing in all cases of a stream."""
    article = "an" if stream == "unlabelled" else "a"
    for modality, count in _with_modality(info, cases).items():
        if not count:
            raise UserError(
                f"expected {article} {stream} patient with {modality}, but none of the {len(cases)} patients has it",
                path=info.location,
                remedy=f"Correct the split, or convert without {modality} in --modalities",
            )


def _check_unlabelled(config: TrainConfig, info: DatasetInfo, cases: Sequence[CaseEntry]) -> None:
    """Each network needs unlabelled images, and each mutual term needs patients with both modalities of a pair."""
    _require_each_modality(info, cases, "unlabelled")
    mutual = _mutual(config)
    pairs = {pair for case in cases for pair in itertools.combinations(info.modalities_of(case), 2)}
    if mutual and not pairs:
        raise UserError(
            f"expected an unlabelled patient with two modalities for {', '.join(mutual)}, but each of the "
            f"{len(cases)} patients has one",
            path=info.location,
            remedy="Add labelled to --unlabelled_partitions, convert patients with several modalities, or choose "
            "another --method",
        )
    for one, other in itertools.combinations(info.modalities, 2):
        if mutual and (one, other) not in pairs:
            print(f"warning: no unlabelled patient has {one} and {other}: their mutual terms are 0")


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
