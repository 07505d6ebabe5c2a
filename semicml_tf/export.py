"""Publishes a run's networks, each as a SavedModel of its own: <output>/<modality>/<version>/.

    python -m semicml_tf.export RUN --output=models/

Each is read back and compared with the network in memory before it gets its number.
"""

from __future__ import annotations

import pathlib

from absl import flags

import semicml_tf
from semicml_tf import atomic, commandline, quiet_import
from semicml_tf.errors import UserError

POSITIONAL = ("run",)
REPORT_NAME = "export.json"


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("run", None, "Folder of a run of python -m semicml_tf.train.", flag_values=values)
    flags.DEFINE_string(
        "output", "models", "Folder of the models; each modality gets a folder in it.", flag_values=values
    )
    flags.DEFINE_string("dataset", "", "Folder or URL of the run's data, if it has moved.", flag_values=values)
    flags.DEFINE_list("modalities", [], "Modalities to export; none means all of the run.", flag_values=values)


def _settings(run) -> dict:
    """The training's settings for the model card, as far as run.json has them."""
    from semicml_tf.training.run_folder import FILE_NAME

    settings = atomic.read_json(run.folder / FILE_NAME, what="a run's folder", remedy="Train it again").get("settings")
    return settings if isinstance(settings, dict) else {}


def _manifest(run, info, modality: str, postprocessing):
    from semicml_tf.artefact.manifest import Manifest

    return Manifest(
        modality=modality,
        spacing_mm=info.spacing_mm,
        normalisation=info.normalisation[modality],
        window=run.window,
        label_values=info.label_values,
        threshold=run.threshold(modality),
        data_hash=run.data_hash,
        run_hash=run.run_hash,
        validation_dice=run.best.get(modality, {}).get("dice"),
        semicml_tf_version=semicml_tf.__version__,
        crop=info.crop,
        postprocessing=postprocessing,
    )


def _with_dropout(network, run):
    """The network with the teacher's dropout, of the same weights; None where it is no U-Net, which has it."""
    from semicml_tf.networks.unet import levels_of, unet

    if not levels_of(network):
        return None
    return unet(run.window, run.width, name=f"{network.name}_with_dropout", dropout_on=network)


def main(values: flags.FlagValues) -> None:
    if not values.run:
        raise UserError("expected --run, the folder of a run", remedy="See --help")
    from semicml_tf.evaluation import postprocessing_choice
    from semicml_tf.records.dataset import DatasetInfo
    from semicml_tf.training.run_folder import Run

    run = Run.load(values.run)
    info = DatasetInfo.load(values.dataset or run.dataset)
    if info.data_hash != run.data_hash:
        raise UserError(
            "expected the data that the run was trained on, got data with another hash",
            path=info.location,
            remedy="Train again on this data, or put the former data back",
        )
    chosen = tuple(values.modalities or run.modalities)
    unknown = [name for name in chosen if name not in run.modalities]
    if unknown:
        raise UserError(f"expected --modalities among {', '.join(run.modalities)}, got '{unknown[0]}'", path=run.folder)
    postprocessing = postprocessing_choice.load(run)
    output = pathlib.Path(values.output)
    quiet_import.tensorflow()
    from semicml_tf.artefact.publish import publish

    report = {}
    for modality in chosen:
        manifest = _manifest(run, info, modality, postprocessing[modality])
        network = run.network(modality)
        published = publish(
            network,
            manifest,
            output / modality,
            settings=_settings(run),
            with_dropout=_with_dropout(network, run),
        )
        report[modality] = {
            "folder": str(published.folder),
            "version": published.version,
            "max_difference": published.max_difference,
            "validation_dice": manifest.validation_dice,
            "postprocessing": str(manifest.postprocessing),
        }
        print(f"{published.folder}: version {published.version}, equal to memory within {published.max_difference:.1e}")
    atomic.write_json(output / REPORT_NAME, {"run": str(run.folder), "run_hash": run.run_hash, "models": report})


if __name__ == "__main__":
    commandline.run("semicml_tf.export")
