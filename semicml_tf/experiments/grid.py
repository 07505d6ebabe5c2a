"""The grid of an experiment: rows by modality sets, labelled patients and seeds, each with its settings."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
from collections.abc import Mapping, Sequence

from semicml_tf.errors import UserError
from semicml_tf.experiments.method_row import Row, in_row
from semicml_tf.experiments.run_spec import Cell
from semicml_tf.experiments.splits import number_of
from semicml_tf.experiments.study import Study
from semicml_tf.methods import catalogue
from semicml_tf.methods.catalogue import MethodSettings
from semicml_tf.runs.config import TrainConfig
from semicml_tf.runs.settings import TrainSettings, as_flags


def cells_of(
    rows: Sequence[Row],
    output: pathlib.Path,
    study: Study,
    pools: Mapping[int | None, int],
    partition: str = "test",
    *,
    unlabelled: int = 0,
) -> list[Cell]:
    """All cells in the order of their runs: all rows of a seed come before the next seed.

    Args:
        rows: of the table.
        output: folder of the experiment.
        study: the rows add their flags to its flags.
        pools: number of patients who may be labelled, by fold; the key is None without folds.
        partition: its scores are reported.
        unlabelled: number of patients who are never labelled.

    Raises:
        UserError: training does not accept a row's flags, or there are too few patients.
    """
    seeds, sets, counts = (
        list(dict.fromkeys(value for row in rows for value in getattr(row, what)))
        for what in ("seeds", "modality_sets", "labelled")
    )
    cells = []
    extra = {
        (row.name, labelled, fold): _extra_flags(row, labelled, study, pool, unlabelled)
        for row in rows
        for labelled in row.labelled
        for fold, pool in pools.items()
    }
    for seed, modalities, labelled, fold, row in itertools.product(seeds, sets, counts, pools, rows):
        if seed in row.seeds and modalities in row.modality_sets and labelled in row.labelled:
            flags = row.flags + extra[row.name, labelled, fold]
            cell = Cell(row.name, modalities, labelled, seed, output, flags, partition, fold=fold)
            folder = output / "runs" / cell.data_name / row.slug
            cells.append(dataclasses.replace(cell, folder=folder))
    return cells


def _extra_flags(row: Row, labelled: str, study: Study, pool: int, unlabelled: int) -> tuple[str, ...]:
    """The flag that a row needs if all patients are labelled: labelled patients then also serve as unlabelled ones."""
    with in_row(row.name):
        config = config_of(study, row.flags)
        for modalities in row.modality_sets:
            config.check_modalities(modalities)
        needs_unlabelled = any(catalogue.METHODS[name].needs_unlabelled for name in config.method)
        left = pool - number_of(labelled, pool) + unlabelled
        if left or not needs_unlabelled or "unlabelled" not in config.unlabelled_partitions:
            return ()
        if "labelled" not in config.unlabelled_partitions:
            raise UserError(
                "all patients are labelled, but the row needs unlabelled patients",
                remedy="Add --unlabelled_partitions=labelled to the row, or --labelled_patients with fewer",
            )
    return ("--unlabelled_partitions=labelled",)


def config_of(study: Study, flags: Sequence[str], seed: int = 0) -> TrainConfig:
    """The settings of a run. Data and output folder are placeholders.

    Raises:
        UserError: a flag is unknown to training, or its value is wrong.
    """
    return study.config("train", *flags, f"--seed={seed}", "--dataset=DATASET", "--output=RUN")


def settings_as_flags(study: Study, cell: Cell) -> dict:
    """The settings of a cell's run as JSON values by flag name, as in `run.json`."""
    config = config_of(study, cell.flags, cell.seed)
    return as_flags(config.run_settings, config.method_settings)


def defaults() -> dict:
    """The default of each setting as a JSON value, by flag name."""
    return as_flags(TrainSettings(), MethodSettings())
