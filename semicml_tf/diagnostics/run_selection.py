"""Selects the runs of a folder: of a run, an ensemble, a cross-validation, or a row of an experiment."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

from semicml_tf.errors import UserError
from semicml_tf.runs import run_folder
from semicml_tf.runs.ensemble import is_ensemble, read_ensemble
from semicml_tf.runs.run_folder import Run

_ENSEMBLE = "ensemble"
_RUNS = "runs"


def select(folder: str | os.PathLike, row: str | None = None) -> dict[str, Run]:
    """The runs of a folder by name, in order. Names are the parts of the paths in which the runs differ.

    Args:
        folder: of a run, of an ensemble, of a cross-validation (with ``ensemble/``), or of an experiment.
        row: of an experiment, the name of the row's folders below ``runs/DRAW/``.

    Raises:
        UserError: the run or row does not exist, or a run has no trained network yet.
    """
    place = pathlib.Path(folder)
    if row is not None:
        return _named([Run.load(path) for path in _of_row(place, row)])
    for ensemble in (place, place / _ENSEMBLE):
        if is_ensemble(ensemble):
            return _named(read_ensemble(ensemble))
    if not (place / run_folder.FILE_NAME).exists() and (rows := _rows(place)):
        raise UserError(
            "expected --experiment_row of this experiment, which is missing",
            path=place,
            remedy=f"Pass one of {', '.join(rows)}",
        )
    return _named([Run.load(place)])


def _runs(place: pathlib.Path) -> list[pathlib.Path]:
    return sorted(path.parent for path in (place / _RUNS).glob(f"*/*/{run_folder.FILE_NAME}"))


def _rows(place: pathlib.Path) -> list[str]:
    return sorted({path.name for path in _runs(place)})


def _of_row(place: pathlib.Path, row: str) -> list[pathlib.Path]:
    folders = [path for path in _runs(place) if path.name == row]
    if not folders:
        rows = ", ".join(_rows(place))
        raise UserError(
            f"expected --experiment_row of an experiment, among {rows or 'none'}, got '{row}'",
            path=place,
            remedy="Correct --experiment_row, or leave it out and name the folder of a run",
        )
    return folders


def _named(runs: Sequence[Run]) -> dict[str, Run]:
    parts = [run.folder.absolute().parts for run in runs]
    if len({len(names) for names in parts}) == 1:
        differing = [place for place, names in enumerate(zip(*parts)) if len(set(names)) > 1]
        parts = [[names[place] for place in differing] or names[-1:] for names in parts]
    return {"/".join(names): run for names, run in zip(parts, runs)}
