"""`manifest.json`: what a client must know to use a published network rightly."""

from __future__ import annotations

import dataclasses
import pathlib

from semicml_tf import atomic
from semicml_tf.errors import UserError
from semicml_tf.inference.postprocess import NONE, Postprocessing
from semicml_tf.normalisation import Normalisation

# Of what a client does with a network: a new form of records leaves published models as good as they were.
CONTRACT_VERSION = 1
RELATIVE_PATH = pathlib.PurePosixPath("assets.extra/manifest.json")
_REMEDY = "Export the run again with python -m semicml_tf.export"

# Tensor names of the SavedModel's signature `serving_default`.
INPUT_NAME = "slices"
OUTPUT_NAME = "probabilities"
# A second signature, which networks with dropout have: it takes the slices' seeds as well, (batch,) int32.
MONTE_CARLO = "monte_carlo"
SEEDS_NAME = "seeds"


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The contents of `manifest.json`.

    Attributes:
        modality: the one that the network reads.
        spacing_mm: (slice, row, column) of the grid it was trained on; 0 = the volume's own.
        normalisation: of native values.
        window: side in pixels of the square slices that it takes.
        label_values: values of the source's label map that were foreground.
        threshold: a voxel of at least this probability is foreground.
        data_hash, run_hash: of the dataset and of the run's settings.
        validation_dice: mean DSC of the validation patients.
        semicml_tf_version: that exported it.
        crop: ``body`` where the network was trained on the box of the body and is to see no more, else ``none``.
        postprocessing: of the thresholded mask, on the volume's own grid.
    """

    modality: str
    spacing_mm: tuple[float, float, float]
    normalisation: Normalisation
    window: int
    label_values: tuple[int, ...]
    threshold: float
    data_hash: str
    run_hash: str
    validation_dice: float | None
    semicml_tf_version: str
    crop: str = "none"
    postprocessing: Postprocessing = NONE

    def save(self, model_folder: str | pathlib.Path) -> None:
        """Writes it into a SavedModel's folder, where TensorFlow Serving keeps it untouched."""
        body = dataclasses.asdict(self) | {
            "contract_version": CONTRACT_VERSION,
            "normalisation": str(self.normalisation),
            "postprocessing": str(self.postprocessing),
            "axis_order": ["slice", "row", "column"],
            "input": {"name": INPUT_NAME, "dtype": "float32", "shape": [None, self.window, self.window, 1]},
            "output": {"name": OUTPUT_NAME, "dtype": "float32", "shape": [None, self.window, self.window, 1]},
            "intended_use": "research only, not for clinical use",
        }
        atomic.write_json(pathlib.Path(model_folder) / RELATIVE_PATH, body)

    @classmethod
    def load(cls, model_folder: str | pathlib.Path) -> Manifest:
        """Reads the manifest of a SavedModel's folder; see `load_file`."""
        return cls.load_file(pathlib.Path(model_folder) / RELATIVE_PATH)

    @classmethod
    def load_file(cls, path: str | pathlib.Path) -> Manifest:
        """Reads a manifest, wherever a client keeps it.

        Raises:
            UserError: it is missing, of another contract version, or lacks a field.
        """
        body = atomic.read_json(path, what="the manifest of an exported model", remedy=_REMEDY)
        if not isinstance(body, dict) or body.get("contract_version") != CONTRACT_VERSION:
            raise UserError(f"expected contract version {CONTRACT_VERSION}", path=path, remedy=_REMEDY)
        try:
            # Models published before there were boxes of the body and post-processing say nothing of them.
            later = ("crop", "postprocessing")
            values = {field.name: body[field.name] for field in dataclasses.fields(cls) if field.name not in later}
        except KeyError as error:
            raise UserError(f"the field {error} is missing", path=path, remedy=_REMEDY) from error
        values["crop"] = body.get("crop", "none")
        try:
            values["postprocessing"] = Postprocessing.parse(str(body.get("postprocessing", "none")))
        except UserError as error:
            raise UserError(error.problem, path=path, remedy=_REMEDY) from error
        values["normalisation"] = Normalisation.parse(values["normalisation"])
        values["spacing_mm"] = tuple(values["spacing_mm"])
        values["label_values"] = tuple(values["label_values"])
        return cls(**values)
