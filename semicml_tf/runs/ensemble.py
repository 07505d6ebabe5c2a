"""`ensemble.json`: runs whose networks answer together, by the mean of their probabilities.

    {"ensemble_version": 1,
     "members": [{"run": "../fold-0/run", "run_hash": "...", "data_hash": "..."}, ...]}

`run` is a path relative to the folder of the file, so that a folder with all runs can be moved.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Annotated, Literal

from annotated_types import MaxLen, MinLen

from semicml_tf.artefact.manifest_fields import MOST_MEMBERS
from semicml_tf.errors import UserError
from semicml_tf.runs.run_folder import ENSEMBLE_NAME, Run
from semicml_tf.runs.run_folder import FILE_NAME as RUN_NAME
from semicml_tf.system import atomic_files, json_files

VERSION = 1
_WHAT = "an ensemble of runs"
_REMEDY = "Write it again with semicml_tf.write_ensemble(folder, runs)"
_Hash = Annotated[str, MinLen(1), MaxLen(128)]


@dataclasses.dataclass(frozen=True)
class _Member:
    run: Annotated[str, MinLen(1), MaxLen(4096)]
    run_hash: _Hash
    data_hash: _Hash

    def __post_init__(self):
        if os.path.isabs(self.run) or "\0" in self.run:
            raise ValueError(f"expected a path relative to {ENSEMBLE_NAME}, got {ascii(self.run)}")


@dataclasses.dataclass(frozen=True)
class _File:
    ensemble_version: Literal[VERSION]
    members: Annotated[tuple[_Member, ...], MinLen(1), MaxLen(MOST_MEMBERS)]


def is_ensemble(folder: str | os.PathLike) -> bool:
    """Whether a folder has an `ensemble.json`."""
    return (pathlib.Path(folder) / ENSEMBLE_NAME).is_file()


def write_ensemble(folder: str | os.PathLike, runs: Sequence[str | os.PathLike]) -> pathlib.Path:
    """Writes the `ensemble.json` of runs, each of which has trained networks.

    Args:
        folder: of the file; it is made if it is missing.
        runs: folders of the runs, each once.

    Returns:
        The path of the file.

    Raises:
        UserError: no run is given, a run is given twice, a folder of `runs` is no run's folder, or `folder` is one.
    """
    place = pathlib.Path(folder)
    if not 1 <= len(runs) <= MOST_MEMBERS:
        raise UserError(f"expected 1 to {MOST_MEMBERS} runs in an ensemble, got {len(runs)}", path=place)
    if (place / RUN_NAME).exists():
        problem = "expected a folder of its own for the ensemble, got a run's folder"
        raise UserError(problem, path=place, remedy="Name another folder")
    members = [Run.load(run) for run in runs]
    _check_distinct(members, place)
    start = place.resolve()
    entries = [_Member(os.path.relpath(run.folder.resolve(), start), run.run_hash, run.data_hash) for run in members]
    path = place / ENSEMBLE_NAME
    body = {"ensemble_version": VERSION, "members": [dataclasses.asdict(entry) for entry in entries]}
    atomic_files.write_json(path, body)
    return path


def read_ensemble(folder: str | os.PathLike) -> tuple[Run, ...]:
    """The runs of the `ensemble.json` in a folder, in its order.

    Raises:
        UserError: the file cannot be read, or is no ensemble; a run is missing, was trained again with other settings
            or data, or is named twice. The message names the run.
    """
    place = pathlib.Path(folder)
    path = place / ENSEMBLE_NAME
    file = json_files.read(path, _File, what=_WHAT, remedy=_REMEDY)
    runs = tuple(_load(place, entry) for entry in file.members)
    _check_distinct(runs, path)
    return runs


def _load(folder: pathlib.Path, entry: _Member) -> Run:
    try:
        run = Run.load(os.path.realpath(folder / entry.run))
    except UserError as error:
        problem = f"the run '{entry.run}' of this ensemble cannot be used: {error.problem}"
        remedy = f"Put the run back. Otherwise: {_REMEDY}"
        raise UserError(problem, path=folder / ENSEMBLE_NAME, remedy=remedy) from error
    for what in ("run_hash", "data_hash"):
        expected, received = getattr(entry, what), getattr(run, what)
        if expected != received:
            raise UserError(
                f"the run '{entry.run}' has changed: expected its {what} {expected[:12]}, got {received[:12]}",
                path=folder / ENSEMBLE_NAME,
                remedy=f"Put the run back. Otherwise: {_REMEDY}",
            )
    return run


def _check_distinct(runs: Sequence[Run], path: pathlib.Path) -> None:
    folders = [run.folder.resolve() for run in runs]
    for number, folder in enumerate(folders):
        if folder in folders[:number]:
            problem = f"expected different runs in an ensemble, got '{runs[number].folder}' twice"
            raise UserError(problem, path=path, remedy="Name each run once")
