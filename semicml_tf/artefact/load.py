"""An exported model opened in this process."""

from __future__ import annotations

import pathlib

import numpy as np

from semicml_tf import quiet_import
from semicml_tf.artefact.manifest import INPUT_NAME, MONTE_CARLO, OUTPUT_NAME, SEEDS_NAME, Manifest
from semicml_tf.errors import UserError
from semicml_tf.inference.volume import Segmenter

SIGNATURE = "serving_default"
_REMEDY = "Export the run again with python -m semicml_tf.export"


def versions(folder: str | pathlib.Path) -> dict[int, pathlib.Path]:
    """The version folders below `folder` by number, ascending; staging folders and files are none."""
    entries = pathlib.Path(folder).iterdir()
    return dict(sorted((int(entry.name), entry) for entry in entries if entry.name.isdecimal() and entry.is_dir()))


def version_folder(model: str | pathlib.Path) -> pathlib.Path:
    """The folder of a SavedModel: `model` itself, or the highest version in it.

    Raises:
        UserError: there is no SavedModel.
    """
    folder = pathlib.Path(model)
    if not folder.is_dir():
        raise UserError("expected the folder of an exported model, but there is none", path=folder, remedy=_REMEDY)
    if not (folder / "saved_model.pb").is_file():
        numbered = versions(folder)
        if numbered:
            folder = numbered[max(numbered)]
    if (folder / "saved_model.pb").is_file():
        return folder
    models = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and versions(entry))
    if models:
        raise UserError(
            f"expected one model, got a folder of several: {', '.join(models)}",
            path=folder,
            remedy=f"Name one of them, e.g. {folder / models[0]}",
        )
    raise UserError("expected an exported model, but there is no saved_model.pb", path=folder, remedy=_REMEDY)


class Model(Segmenter):
    """An exported model in this process; `load` makes it.

    Attributes:
        manifest: what the network expects.
        folder: of the version that was loaded.
    """

    def __init__(self, folder: pathlib.Path, manifest: Manifest, loaded):
        super().__init__(manifest)
        self.folder = folder
        # The signature holds its variables weakly: without the whole object they would be freed.
        self._loaded = loaded
        self._signature = loaded.signatures[SIGNATURE]
        self._monte_carlo = dict(loaded.signatures).get(MONTE_CARLO)

    def slices(self, batch: np.ndarray) -> np.ndarray:
        import tensorflow as tf

        return self._signature(**{INPUT_NAME: tf.constant(batch, tf.float32)})[OUTPUT_NAME].numpy()

    def check_dropout(self) -> None:
        if self._monte_carlo is None:
            raise UserError(
                f"this model of '{self.manifest.modality}' has no Monte-Carlo dropout",
                path=self.folder,
                remedy="Export its run again with python -m semicml_tf.export, or leave --mc_dropout out",
            )

    def dropout_slices(self, batch: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        self.check_dropout()
        import tensorflow as tf

        inputs = {INPUT_NAME: tf.constant(batch, tf.float32), SEEDS_NAME: tf.constant(seeds, tf.int32)}
        return self._monte_carlo(**inputs)[OUTPUT_NAME].numpy()

    def origins(self) -> list[dict]:
        version = int(self.folder.name) if self.folder.name.isdecimal() else None
        return [{"model": str(self.folder), "version": version, "run_hash": self.manifest.run_hash}]


def load(model: str | pathlib.Path) -> Model:
    """Opens an exported model.

    Args:
        model: a version's folder, or a folder of versions, of which the highest is taken.

    Raises:
        UserError: there is no SavedModel or no manifest, or they are damaged or of another version.
    """
    folder = version_folder(model)
    manifest = Manifest.load(folder)
    tf = quiet_import.tensorflow()
    try:
        loaded = tf.saved_model.load(str(folder))
    except (OSError, ValueError, tf.errors.OpError) as error:
        reason = str(error).splitlines()[0][:200]
        raise UserError(f"this SavedModel is damaged ({reason})", path=folder, remedy=_REMEDY) from error
    signature = loaded.signatures.get(SIGNATURE)
    if signature is None or set(signature.structured_input_signature[1]) != {INPUT_NAME}:
        raise UserError(f"expected a signature '{SIGNATURE}' that takes '{INPUT_NAME}'", path=folder, remedy=_REMEDY)
    return Model(folder, manifest, loaded)
