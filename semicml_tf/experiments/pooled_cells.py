"""Joins the folds of a cross-validation to one cell per row, set of modalities, labelled count and seed."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence

from semicml_tf.evaluation import pooled_report, report, table
from semicml_tf.experiments.plan import Plan
from semicml_tf.experiments.run_spec import Cell
from semicml_tf.system import atomic_files

FOLDER = "pooled"


def pooled(plan: Plan, *, command: str) -> list[Cell]:
    """The cells of the tables; without folds, the cells of the plan.

    Writes the report of each cell whose folds are all finished. Other cells are not finished.

    Raises:
        UserError: the scores of the folds do not fit together.
    """
    if plan.folds is None:
        return list(plan.cells)
    groups: dict[tuple, list[Cell]] = {}
    for cell in plan.cells:
        groups.setdefault((cell.row, cell.modalities, cell.labelled, cell.seed), []).append(cell)
    return [_pooled(plan, cells, command) for cells in groups.values()]


def _pooled(plan: Plan, cells: Sequence[Cell], command: str) -> Cell:
    first = dataclasses.replace(cells[0], fold=None, members=tuple(cells))
    cell = dataclasses.replace(first, folder=plan.output / FOLDER / first.data_name / cells[0].folder.name)
    if not all(member.finished for member in cells):
        # An earlier report would be of other runs.
        return dataclasses.replace(cell, stale=True)
    folder = cell.metrics_path.parent
    reports = {place_of(member, folder): report.load(member.metrics_path) for member in cells}
    write(folder, pooled_report.pool(reports, command=command, data_hash=plan.whole_hash(cells[0])))
    return dataclasses.replace(cell, stale=False)


def place_of(member: Cell, folder: pathlib.Path) -> str:
    """The folder of a fold's run, relative to the folder of a pooled report."""
    return os.path.relpath(member.folder, folder)


def write(folder: pathlib.Path, body: dict) -> None:
    """Writes `metrics.json` of a pooled report, and the same tables as an evaluation."""
    with atomic_files.new_directory(folder, overwrite=True) as staged:
        atomic_files.write_json(staged / report.FILE_NAME, body)
        atomic_files.write_text(staged / "metrics.csv", table.scores_csv(body))
        atomic_files.write_text(staged / "table.txt", table.screen(body))
        atomic_files.write_text(staged / "table.md", table.summary_markdown(body))
