"""Checks the dataset that a run is scored on: the run's own, or another allowed dataset."""

from __future__ import annotations

import sys
from typing import Protocol

from semicml_tf.errors import UserError
from semicml_tf.records.dataset import CaseEntry, DatasetInfo
from semicml_tf.runs import seen_cases
from semicml_tf.runs.run_folder import Run


class _Options(Protocol):
    dataset: str | None
    dataset_access: str
    cache_dir: str | None


def load(run: Run, config: _Options) -> DatasetInfo:
    """The dataset of a configuration; the run's own where the configuration names none.

    Raises:
        UserError: it cannot be read.
    """
    info = read(run, config.dataset, dataset_access=config.dataset_access, cache_dir=config.cache_dir)
    if info.url:
        print(info.where, file=sys.stderr)
    return info


def read(run: Run, dataset: str | None, **access: str | None) -> DatasetInfo:
    """The dataset of that path or URL, or the run's own if None.

    Args:
        access: as `DatasetInfo.load` takes it.

    Raises:
        UserError: it cannot be read. If the run's own dataset is missing, the remedy names --dataset.
    """
    try:
        return DatasetInfo.load(dataset or run.dataset, **access)
    except UserError as error:
        if dataset:
            raise
        remedy = f"If the data were moved, name their new folder with --dataset. Otherwise: {error.remedy}"
        raise UserError(error.problem, path=error.path, remedy=remedy) from error


def require(run: Run, info: DatasetInfo, *, remedy: str = "Give the run's own data as --dataset") -> None:
    """Raises UserError if `info` is not the run's own dataset."""
    if info.data_hash != run.data_hash:
        raise UserError(
            f"these data (hash {info.data_hash[:12]}) are not those that the run was trained on "
            f"({run.data_hash[:12]}, {run.dataset})",
            path=info.location,
            remedy=remedy,
        )


def cases_to_score(info: DatasetInfo, partition: str) -> tuple[CaseEntry, ...]:
    """The cases of the partition to score.

    Raises:
        UserError: the partition is empty; the remedy names the validation partition if it has patients.
    """
    if not info.partitions.get(partition) and info.partitions.get("validation"):
        count = len(info.partitions["validation"])
        raise UserError(
            f"this dataset has no {partition} patients",
            path=info.location,
            remedy=f"Pass --partition=validation to score its {count} validation patients. Training chose checkpoints "
            "and thresholds on them, so their scores are optimistic",
        )
    return info.cases(partition)


def one_patient_note(count: int, partition: str) -> list[str]:
    """A note for readers of the scores of a single patient."""
    if count != 1:
        return []
    return [
        f"One {partition} patient is no evidence: the scores say nothing about other patients, or about which row is "
        f"better. Convert again with more {partition} patients."
    ]


def check(run: Run, info: DatasetInfo, partition: str, allowed: bool) -> list[str]:
    """Compares the run's data with those to score on.

    Args:
        partition: of the patients to score.
        allowed: whether other data than the run's are accepted.

    Returns:
        Notes for readers of the scores.

    Raises:
        UserError: the data are not the run's and not allowed, or have other modalities, spacing or normalisation.
    """
    if not set(run.modalities) <= set(info.modalities):
        raise UserError(
            f"expected the run's modalities {', '.join(run.modalities)}, got {', '.join(info.modalities)}",
            path=info.location,
            remedy="Pass the dataset that the run was trained on",
        )
    if not allowed:
        remedy = "Pass the run's own --dataset, or pass --allow_other_data to score other patients on purpose"
        require(run, info, remedy=remedy)
    if info.data_hash == run.data_hash:
        return []
    note = f"Scored on other data than the run was trained on (hash {run.data_hash[:12]})"
    try:
        before = seen_cases.of_run(run, info)
    except UserError:
        return [f"{note}. The run's own data are missing, so spacing, normalisation and patients were not compared."]
    for what, expected, received in seen_cases.differences(run, info, ("spacing_mm", "normalisation")):
        raise UserError(
            f"expected the {what} that the run was trained with, {expected}, got {received}",
            path=info.location,
            remedy="Convert these data with the run's settings",
        )
    known = {*before.trained_on, *before.validated_on}
    if leaked := sorted(known & {case.case_id for case in cases_to_score(info, partition)}):
        note += f"; the run, or a run that initialised it, has seen cases named {', '.join(leaked)}"
    return [f"{note}."]
