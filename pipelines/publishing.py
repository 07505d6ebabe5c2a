"""The one way out: a blessed network is published by export's own function, with its numbers and its gate."""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
import tempfile

from semicml_tf.artefact.manifest import Manifest
from semicml_tf.artefact.versions import complete_versions
from semicml_tf.errors import UserError
from semicml_tf.exporting.config import ExportConfig
from semicml_tf.exporting.job import export
from semicml_tf.runs.run_folder import Run


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a network.

    Attributes:
        version: under which it is served; 0 if it was not published.
        folder: of that version.
        reason: why it was not published.
        run_hash, weights_hash: of the run, and of the network's weights.
    """

    version: int
    folder: str
    reason: str
    run_hash: str
    weights_hash: str


def outcome(run: Run, modality: str, *, version: int = 0, folder: pathlib.Path | str = "", reason: str = "") -> Outcome:
    """What became of a run's network."""
    return Outcome(version, str(folder), reason, run.run_hash, run.weights_hash(modality))


def published_before(folder: pathlib.Path, run: Run, modality: str) -> int:
    """The number of the version served from a model's folder if it is this run's network; else 0.

    A publisher that was killed after the version appeared is run again, and must not number it twice. A run trained
    again with the same settings is another: changed code, or the order of sums, gives it other weights.
    """
    found = complete_versions(folder)
    newest = max(found, default=0)
    if not newest:
        return 0
    try:
        held = Manifest.load(found[newest])
        own = (run.run_hash, run.weights_hash(modality), run.thresholds(modality))
        return newest if (held.run_hash, held.weights_hash, held.thresholds) == own else 0
    except UserError:  # of an older contract: export's gate knows what to make of it
        return 0


def publish(
    run: pathlib.Path,
    validation: pathlib.Path,
    dataset: pathlib.Path,
    models: pathlib.Path,
    modality: str,
    *,
    keep: int | None,
    margin: float,
) -> Outcome:
    """Publishes a run's network of a modality, or says why not; what is served then stays.

    Args:
        run: its folder.
        validation: what `semicml_tf.evaluate` wrote of the validation patients; goes into the manifest.
        dataset: that it was trained on.
        models: folder of the models; the modality's gets the version.
        keep: old versions to keep beside the new one; None: all.
        margin: of export's gate, in validation DSC.

    Raises:
        UserError: the folder cannot be written to, or the run is none.
    """
    trained = Run.load(run)
    there = published_before(models / modality, trained, modality)
    if there:
        return outcome(trained, modality, version=there, folder=models / modality / str(there))
    with tempfile.TemporaryDirectory() as folder:
        # Export looks for the scores in the run's folder, which is an artefact and stays as it is.
        beside = pathlib.Path(folder) / "run"
        shutil.copytree(run, beside, ignore=shutil.ignore_patterns("tensorboard", "pictures", "last.npz"))
        shutil.copytree(validation, beside / "evaluation" / "validation", dirs_exist_ok=True)
        config = ExportConfig(
            run=beside, output=models, modalities=(modality,), dataset=dataset, keep=keep, gate_margin=margin
        )
        exported = export(config).models[modality]
    if exported.published is None:
        return outcome(trained, modality, reason=f"held back by the gate: {exported.verdict.reason}")
    return outcome(trained, modality, version=exported.published.version, folder=exported.published.folder)
