"""An exported model opened in this process."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

import numpy as np

from semicml_tf.artefact.manifest import INPUT_NAME, MONTE_CARLO, OUTPUT_NAME, PROBABILITIES, SEEDS_NAME, Manifest
from semicml_tf.artefact.versions import REMEDY, version_folder
from semicml_tf.errors import UserError, first_line
from semicml_tf.inference.volume import Segmenter
from semicml_tf.system import quiet_import


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
        self._signatures = dict(loaded.signatures)

    def call(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs one of the manifest's signatures: arrays by input name to arrays by output name."""
        import tensorflow as tf

        taken = self.manifest.signatures[signature]["inputs"]
        tensors = {name: tf.constant(value, taken[name]["dtype"]) for name, value in inputs.items()}
        return {name: value.numpy() for name, value in self._signatures[signature](**tensors).items()}

    def slices(self, batch: np.ndarray) -> np.ndarray:
        return self.call(PROBABILITIES, {INPUT_NAME: batch})[OUTPUT_NAME].astype(np.float32, copy=False)

    def check_dropout(self) -> None:
        if not self.manifest.monte_carlo:
            raise UserError(
                f"this model of '{self.manifest.modality}' has no Monte-Carlo dropout",
                path=self.folder,
                remedy="Export its run again with python -m semicml_tf.export, or leave --mc_dropout out",
            )

    def dropout_slices(self, batch: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        self.check_dropout()
        drawn = self.call(MONTE_CARLO, {INPUT_NAME: batch, SEEDS_NAME: seeds})[OUTPUT_NAME]
        return drawn.astype(np.float32, copy=False)

    def origins(self) -> list[dict]:
        version = int(self.folder.name) if self.folder.name.isdecimal() else None
        return [{"model": str(self.folder), "version": version, "run_hash": self.manifest.run_hash}]


def load(model: str | pathlib.Path) -> Model:
    """Opens an exported model.

    Args:
        model: a version's folder, or a folder of versions, of which the highest is taken.

    Raises:
        UserError: there is no SavedModel or no manifest, or they are damaged, of another version, or do not fit.
    """
    folder = version_folder(model)
    manifest = Manifest.load(folder)
    tf = quiet_import.tensorflow()
    try:
        loaded = tf.saved_model.load(str(folder))
    except Exception as error:  # of a file cut short TensorFlow raises what it likes, IndexError and KeyError too
        reason = first_line(error)[:200]
        raise UserError(f"this SavedModel is damaged ({reason})", path=folder, remedy=REMEDY) from error
    for name, expected in manifest.signatures.items():
        if name not in loaded.signatures:
            raise UserError(
                f"the signature '{name}' that the manifest names is missing from the SavedModel",
                path=folder,
                remedy=REMEDY,
            )
        received = _declared(loaded.signatures[name])
        if received != expected:
            raise UserError(
                f"expected signature '{name}' as the manifest says, {expected}, got {received}",
                path=folder,
                remedy=REMEDY,
            )
    return Model(folder, manifest, loaded)


def _declared(signature) -> dict[str, dict]:
    """Inputs and outputs of a loaded signature, as `Manifest.signatures` has them."""

    def tensors(specs: Mapping) -> dict:
        return {name: {"dtype": spec.dtype.name, "shape": spec.shape.as_list()} for name, spec in specs.items()}

    return {
        "inputs": tensors(signature.structured_input_signature[1]),
        "outputs": tensors(signature.structured_outputs),
    }
