"""Publishes a blessed network by the function of `semicml_tf.export`, with its version numbers and its gate."""

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
    """The result of publishing a network.

    Attributes:
        version: number of the served version; 0 if the network was not published.
        folder: of the version.
        reason: the reason why the network was not published.
        run_hash, weights_hash: of the run, and of the weights of the network.
    """

    version: int
    folder: str
    reason: str
    run_hash: str
    weights_hash: str


def outcome(run: Run, modality: str, *, version: int = 0, folder: pathlib.Path | str = "", reason: str = "") -> Outcome:
    """The result for the network of a run."""
    return Outcome(version, str(folder), reason, run.run_hash, run.weights_hash(modality))


def published_before(folder: pathlib.Path, run: Run, modality: str) -> int:
    """The number of the newest version in the folder of a model, if it is the network of this run; else 0.

    A publisher that is killed after it wrote the version runs again, and must not publish it twice. A run that is
    trained again with the same settings is another run: changed code or rounding gives other weights.
    """
    existing = complete_versions(folder)
    newest = max(existing, default=0)
    if not newest:
        return 0
    try:
        manifest = Manifest.load(existing[newest])
        expected = (run.run_hash, run.weights_hash(modality), run.thresholds(modality))
        return newest if (manifest.run_hash, manifest.weights_hash, manifest.thresholds) == expected else 0
    except UserError:  # an older contract, which the gate of export handles
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
    """Publishes the network of a modality, or returns the reason why not. Old versions do not change.

    Args:
        run: folder of the run.
        validation: folder of `semicml_tf.evaluate` on the validation patients, whose scores go into the manifest.
        dataset: folder of the training data.
        models: folder of the models. The version is written into the folder of the modality.
        modality: of the network.
        keep: number of old versions to keep; None for all.
        margin: margin of the gate of export, in validation DSC.

    Raises:
        UserError: the folder cannot be written to, or the run is invalid.
    """
    trained = Run.load(run)
    version = published_before(models / modality, trained, modality)
    if version:
        return outcome(trained, modality, version=version, folder=models / modality / str(version))
    with tempfile.TemporaryDirectory() as folder:
        # Export reads the scores from the folder of the run, an artefact that must not change. A copy gets the scores.
        copy = pathlib.Path(folder) / "run"
        shutil.copytree(run, copy, ignore=shutil.ignore_patterns("tensorboard", "pictures", "last.npz"))
        shutil.copytree(validation, copy / "evaluation" / "validation", dirs_exist_ok=True)
        config = ExportConfig(
            run=copy, output=models, modalities=(modality,), dataset=dataset, keep=keep, gate_margin=margin
        )
        exported = export(config).models[modality]
    if exported.published is None:
        return outcome(trained, modality, reason=f"held back by the gate: {exported.verdict.reason}")
    return outcome(trained, modality, version=exported.published.version, folder=exported.published.folder)
