"""`manifest.json`: what a client must know to use a published network rightly, its signatures included.

A published network answers these signatures. Axis 0 of every tensor is the batch; `window` is the manifest's.

| signature | inputs | outputs |
|---|---|---|
| `serving_default` | `slices`, normalised | `labels` |
| `probabilities` | `slices`, normalised | `probabilities` |
| `raw` | `slices`, in native units; by percentile (MR) also `low`, `high`, `center`, `scale` | both |
| `serialized` | `examples`: a `tf.train.Example` of one normalised slice each, its feature `slice` | both |
| `monte_carlo` (networks with dropout) | `slices`, normalised, and their `seeds` | `probabilities` |
| `manifest` | `queries`: any numbers | `manifest`: this file, once for each |
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

from semicml_tf import atomic
from semicml_tf.errors import UserError
from semicml_tf.inference.postprocess import NONE, Postprocessing
from semicml_tf.normalisation import Normalisation
from semicml_tf.plausibility import Plausibility

# Of what a client does with a network: a new form of records leaves published models as good as they were.
CONTRACT_VERSION = 2
RELATIVE_PATH = pathlib.PurePosixPath("assets.extra/manifest.json")
_REMEDY = "Export the run again with python -m semicml_tf.export"

# Signatures.
DEFAULT = "serving_default"
PROBABILITIES = "probabilities"
RAW = "raw"
SERIALIZED = "serialized"
MONTE_CARLO = "monte_carlo"
MANIFEST = "manifest"

# Their tensors.
INPUT_NAME = "slices"
OUTPUT_NAME = "probabilities"
LABELS_NAME = "labels"
SEEDS_NAME = "seeds"
EXAMPLES_NAME = "examples"
QUERIES_NAME = "queries"
MANIFEST_NAME = "manifest"
# What `normalisation.Constants` holds of a volume, once for each of its slices.
CONSTANT_NAMES = ("low", "high", "center", "scale")

# The feature of an example: window * window float32 in rows, normalised. `artefact.slice_example` writes and reads it.
SLICE_FEATURE = "slice"
# The label where the probability is not a number, as it is of slices that hold NaN: neither background nor foreground.
LABEL_OF_NAN = 255
# float16 halves what an answer takes on the wire; clients get float32 from either.
PROBABILITIES_DTYPES = ("float32", "float16")


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
        weights_hash: of the network's weights; empty where the manifest is of before there was one.
        validation_dice: mean DSC of the validation patients, as training measured it.
        semicml_tf_version: that exported it.
        crop: ``body`` where the network was trained on the box of the body and is to see no more, else ``none``.
        postprocessing: of the thresholded mask, on the volume's own grid.
        probabilities_dtype: of the outputs `probabilities`; one of `PROBABILITIES_DTYPES`.
        monte_carlo: whether there is the signature `monte_carlo`.
        plausibility: limits of native values and voxel sizes; None where the manifest is of before there were any, so
            that `limits` are those of the normalisation.
        validation_scores: means over the validation patients by measure, if they were scored on their own grids.
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
    probabilities_dtype: str = "float32"
    monte_carlo: bool = False
    validation_scores: Mapping[str, float] = dataclasses.field(default_factory=dict)
    weights_hash: str = ""
    plausibility: Plausibility | None = None

    @property
    def limits(self) -> Plausibility:
        """What is plausible of the images that the network reads."""
        return self.plausibility or Plausibility.of(self.normalisation)

    def accepting(self, codes: Collection[str]) -> Manifest:
        """This manifest with further codes of `plausibility.ACCEPTABLE` accepted."""
        return dataclasses.replace(self, plausibility=self.limits.accepting(codes)) if codes else self

    @property
    def takes_constants(self) -> bool:
        """Whether `raw` needs the constants of the volume that a slice is of: its percentiles are the volume's own."""
        return self.normalisation.fixed is None

    @property
    def signatures(self) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
        """By signature: ``{"inputs": {name: {"dtype", "shape"}}, "outputs": likewise}``; None is a free size."""

        def tensor(dtype: str, *shape: int) -> dict[str, Any]:
            return {"dtype": dtype, "shape": [None, *shape]}

        square = (self.window, self.window, 1)
        slices = {INPUT_NAME: tensor("float32", *square)}
        labels = {LABELS_NAME: tensor("uint8", *square)}
        soft = {OUTPUT_NAME: tensor(self.probabilities_dtype, *square)}
        constants = {name: tensor("float32") for name in CONSTANT_NAMES} if self.takes_constants else {}
        found = {
            DEFAULT: (slices, labels),
            PROBABILITIES: (slices, soft),
            RAW: (slices | constants, labels | soft),
            SERIALIZED: ({EXAMPLES_NAME: tensor("string")}, labels | soft),
            MANIFEST: ({QUERIES_NAME: tensor("int32")}, {MANIFEST_NAME: tensor("string")}),
        }
        if self.monte_carlo:
            found[MONTE_CARLO] = (slices | {SEEDS_NAME: tensor("int32")}, soft)
        return {name: {"inputs": inputs, "outputs": outputs} for name, (inputs, outputs) in found.items()}

    def to_json(self) -> str:
        """The file's text, which the signature `manifest` gives, too."""
        how, fixed = self.normalisation, self.normalisation.fixed
        body = dataclasses.asdict(self) | {
            "contract_version": CONTRACT_VERSION,
            "normalisation": str(how),
            "normalisation_unit": how.unit,
            "normalisation_constants": None if fixed is None else dataclasses.asdict(fixed),
            "postprocessing": str(self.postprocessing),
            "plausibility": None if self.plausibility is None else self.plausibility.to_json(),
            "axis_order": ["slice", "row", "column"],
            "signatures": self.signatures,
            "example_features": {SLICE_FEATURE: {"dtype": "float32", "shape": [self.window, self.window, 1]}},
            "label_of_nan": LABEL_OF_NAN,
            "intended_use": "research only, not for clinical use",
        }
        return json.dumps(body, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def save(self, model_folder: str | pathlib.Path) -> None:
        """Writes it into a SavedModel's folder, where TensorFlow Serving keeps it untouched."""
        atomic.write_text(pathlib.Path(model_folder) / RELATIVE_PATH, self.to_json())

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
        return cls._of(atomic.read_json(path, what="the manifest of an exported model", remedy=_REMEDY), str(path))

    @classmethod
    def from_json(cls, text: str, where: str) -> Manifest:
        """Reads a manifest's text, e.g. what the signature `manifest` gave.

        Args:
            where: it comes from, for messages.

        Raises:
            UserError: it is no JSON, of another contract version, or lacks a field.
        """
        try:
            body = json.loads(text)
        except ValueError as error:
            raise UserError(
                f"expected the manifest of an exported model, but it is not valid JSON ({error})",
                path=where,
                remedy=_REMEDY,
            ) from error
        return cls._of(body, where)

    @classmethod
    def _of(cls, body: Any, where: str) -> Manifest:
        version = body.get("contract_version") if isinstance(body, dict) else None
        if version != CONTRACT_VERSION:
            raise UserError(
                f"expected a manifest of contract version {CONTRACT_VERSION}, got {version}",
                path=where,
                remedy=_REMEDY,
            )
        try:
            body = {"weights_hash": "", "plausibility": None} | body
            values = {field.name: body[field.name] for field in dataclasses.fields(cls)}
            values["normalisation"] = Normalisation.parse(str(values["normalisation"]))
            values["postprocessing"] = Postprocessing.parse(str(values["postprocessing"]))
            slice_mm, row_mm, column_mm = (float(size) for size in values["spacing_mm"])
            values["spacing_mm"] = (slice_mm, row_mm, column_mm)
            values["label_values"] = tuple(int(value) for value in values["label_values"])
            if values["plausibility"] is not None:
                values["plausibility"] = Plausibility.from_json(values["plausibility"])
            values["validation_scores"] = dict(values["validation_scores"])
            values["window"], values["threshold"] = int(values["window"]), float(values["threshold"])
        except KeyError as error:
            raise UserError(f"the field {error} is missing", path=where, remedy=_REMEDY) from error
        except UserError as error:
            raise UserError(error.problem, path=where, remedy=_REMEDY) from error
        except (TypeError, ValueError) as error:
            raise UserError(f"a field has a wrong value ({error})", path=where, remedy=_REMEDY) from error
        if values["probabilities_dtype"] not in PROBABILITIES_DTYPES:
            raise UserError(
                f"expected probabilities of {' or '.join(PROBABILITIES_DTYPES)}, got '{values['probabilities_dtype']}'",
                path=where,
                remedy=_REMEDY,
            )
        return cls(**values)
