"""Where a published model comes from: which data, which teacher, which runs, and what was checked on the way.

    python -m pipelines.lineage models/ct/3
    python -m pipelines.lineage models/ct --metadata=OUTPUT/metadata.sqlite --output=lineage.json

Asks the pipeline's metadata store, which is looked for beside the models. Needs ml-metadata, of requirements/tfx.lock.
"""

from __future__ import annotations

import pathlib

from absl import flags

from pipelines import lineage_graph, lineage_text, metadata_store
from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.system import atomic_files

POSITIONAL = ("model",)
METADATA_NAME = "metadata.sqlite"


def define_flags(values: flags.FlagValues) -> None:
    """Defines the command's flags on `values`."""
    flags.DEFINE_string(
        "model", None, "A version's folder, or a model's, of which the newest is meant.", flag_values=values
    )
    flags.DEFINE_string("metadata", None, f"The store; none: {METADATA_NAME} in a folder above.", flag_values=values)
    flags.DEFINE_string("output", None, "Also write the answer here, as JSON.", flag_values=values)


def main(values: flags.FlagValues) -> None:
    """Runs the command."""
    if not values.model:
        raise UserError("expected a published model, got none", remedy="See --help")
    from semicml_tf.artefact.manifest import Manifest
    from semicml_tf.artefact.versions import version_folder

    folder = version_folder(values.model).absolute()
    manifest = Manifest.load(folder)
    metadata = pathlib.Path(values.metadata) if values.metadata else _beside(folder)
    try:
        store = metadata_store.open_store(metadata)
    except ImportError as error:
        raise UserError(
            f"ml-metadata is not there ({error})", remedy="Use the environment of requirements/tfx.lock"
        ) from error
    pushed = lineage_graph.find(store, manifest, folder.name)
    if pushed is None:
        raise UserError(
            f"no pipeline of {metadata} has published this model (run {manifest.run_hash[:12]})",
            path=folder,
            remedy="Name the store of its pipeline with --metadata",
        )
    body = lineage_graph.of(store, pushed)
    body["model"] = {
        "folder": str(folder),
        "modality": manifest.modality,
        "version": int(folder.name),
        "run_hash": manifest.run_hash,
        "weights_hash": manifest.weights_hash,
        "data_hash": manifest.data_hash,
        "validation_dice": manifest.validation_dice,
    }
    print(lineage_text.text(body))
    if values.output:
        atomic_files.write_json(values.output, body)


def _beside(folder: pathlib.Path) -> pathlib.Path:
    for above in folder.parents:
        if (above / METADATA_NAME).is_file():
            return above / METADATA_NAME
    raise UserError(
        f"found no {METADATA_NAME} in the folders above", path=folder, remedy="Name the pipeline's with --metadata"
    )


if __name__ == "__main__":
    commandline.run("pipelines.lineage")
