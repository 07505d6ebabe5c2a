"""The one way out: a blessed network is published by export's own function, with its numbers and its gate."""

from __future__ import annotations

import dataclasses
import pathlib

from semicml_tf.artefact.export_run import export_run
from semicml_tf.artefact.load import versions
from semicml_tf.artefact.manifest import Manifest
from semicml_tf.training.run_folder import Run


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a network.

    Attributes:
        version: under which it is served; 0 if it was not published.
        folder: of that version.
        reason: why it was not published.
        run_hash: of the run.
    """

    version: int
    folder: str
    reason: str
    run_hash: str


def published_before(folder: pathlib.Path, run_hash: str) -> int:
    """The number of the version served from a model's folder if it is this run's; else 0.

    A publisher that was killed after the version appeared is run again, and must not number it twice.
    """
    found = versions(folder) if folder.is_dir() else []
    newest = max(found, default=0)
    return newest if newest and Manifest.load(folder / str(newest)).run_hash == run_hash else 0


def publish(
    run: pathlib.Path, dataset: pathlib.Path, models: pathlib.Path, modality: str, *, keep: int | None, margin: float
) -> Outcome:
    """Publishes a run's network of a modality, or says why not; what is served then stays.

    Args:
        run: its folder.
        dataset: that it was trained on.
        models: folder of the models; the modality's gets the version.
        keep: versions to keep; None: all.
        margin: of export's gate.

    Raises:
        UserError: the folder cannot be written to, or the run is none.
    """
    run_hash = Run.load(run).run_hash
    there = published_before(models / modality, run_hash)
    if there:
        return Outcome(there, str(models / modality / str(there)), "", run_hash)
    report = export_run(run, models, modalities=(modality,), dataset=str(dataset), keep=keep, gate_margin=margin)
    version = report[modality]["version"]
    return Outcome(version, str(models / modality / str(version)), "", run_hash)
