"""`manifest.json`: everything that a client needs to use a published network.

A published network has these signatures. Axis 0 of every tensor is the batch. The channels of `slices` are a slice and,
with `context_slices`, its neighbours in the order of the volume.

| signature | inputs | outputs |
|---|---|---|
| `serving_default` | `slices`, normalised | `labels` |
| `probabilities` | `slices`, normalised | `probabilities` |
| `raw` | `slices`, in native units; for MR also `low`, `high`, `center`, `scale` | both |
| `serialized` | `examples`: a `tf.train.Example` per normalised slice, in the feature `slice` | both |
| `monte_carlo` (networks with dropout) | `slices`, normalised, and their `seeds` | `probabilities` |
| `manifest` | `queries`: any numbers | `manifest`: this file, once per query |

`probabilities` has a channel per class. For regions, `labels` has a channel per region with values 0 and 1. For
exclusive classes, `labels` has one channel: 0 for background, and the number of the class from 1.

A model of one plain region (`LabelDefinition.is_plain`) has a manifest of version 2, with `label_values` and
`threshold`, which existing clients read. All other models have version 3, with `labels` and `thresholds`. A client of
version 2 thus refuses such a model instead of using only its first channel.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

from semicml_tf.artefact.manifest_fields import PROBABILITIES_DTYPES as PROBABILITIES_DTYPES
from semicml_tf.artefact.manifest_fields import Fields2, Fields3
from semicml_tf.artefact.preprocessing_steps import preprocessing_steps
from semicml_tf.errors import UserError
from semicml_tf.geometry.patch import Patch, Window
from semicml_tf.labels import PLAIN, LabelDefinition
from semicml_tf.networks.spec import NetworkSpec
from semicml_tf.postprocessing.steps import NONE, Postprocessing
from semicml_tf.preprocessing.normalisation import Normalisation
from semicml_tf.preprocessing.plausibility import Plausibility
from semicml_tf.system import atomic_files, json_files

# Versions of the contract with clients. They are independent of the format of records.
PLAIN_VERSION, CLASSES_VERSION = 2, 3
RELATIVE_PATH = pathlib.PurePosixPath("assets.extra/manifest.json")
_REMEDY = "Export the run again with python -m semicml_tf.export"
_WHAT = "the manifest of an exported model"

# A manifest may come from a server. These limits bound the memory that a client needs for it.
MAX_BYTES = 2**18
# Largest number of queries in a call of the signature `manifest`. Each repeats the whole manifest.
MAX_QUERIES = 256

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
# The fields of `normalisation.Constants` of the volume, repeated for each slice.
CONSTANT_NAMES = ("low", "high", "center", "scale")

# The feature of an example: one normalised input, float32, row by row. `exporting.slice_example` writes and reads it.
SLICE_FEATURE = "slice"
# The label where the probability is NaN, e.g. for slices with NaN: neither background nor foreground.
LABEL_OF_NAN = 255


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The contents of `manifest.json`.

    Attributes:
        modality: input modality of the network.
        spacing_mm: (slice, row, column) of the training grid; 0 for the spacing of the volume.
        normalisation: of native values.
        window: side of the square input slices in pixels, or (slices, rows, columns) of input patches in voxels.
        context_slices: number of neighbours on each side of a slice that are further input channels. The file has the
            number if it is not 0.
        labels: the classes or regions, in the order of channels.
        thresholds: by region, the smallest probability of its voxels; {} for exclusive classes, where the most
            probable class counts.
        data_hash, run_hash: of the dataset and of the settings of the run.
        weights_hash: of the weights of the network; "" in older manifests.
        window_multiple: `window` is a multiple of this: the factors by which the network halves its slices or patches.
        network: specification of the network; None in older manifests.
        members: number of networks in the ensemble. The file has the number if it is not 1.
        validation_dice: mean DSC of the validation patients, as measured in training, averaged over members.
        semicml_tf_version: version of the package that exported the model.
        crop: ``body`` if volumes are cropped to the box of the body, else ``none``.
        postprocessing: of masks on the grid of the volume, for all classes or by class.
        probabilities_dtype: of the outputs `probabilities`; one of `PROBABILITIES_DTYPES`.
        monte_carlo: whether the signature `monte_carlo` exists.
        plausibility: limits of native values and voxel sizes; None in older manifests, whose `limits` are those of the
            normalisation.
        validation_scores: means over the validation patients by measure, if they were scored on their native grids.

    Raises:
        UserError: thresholds or post-processing do not match the classes, or there are too many classes.
    """

    modality: str
    spacing_mm: tuple[float, float, float]
    normalisation: Normalisation
    window: Window
    labels: LabelDefinition
    thresholds: Mapping[str, float]
    data_hash: str
    run_hash: str
    validation_dice: float | None
    semicml_tf_version: str
    crop: str = "none"
    postprocessing: Postprocessing | Mapping[str, Postprocessing] = NONE
    probabilities_dtype: str = "float32"
    monte_carlo: bool = False
    validation_scores: Mapping[str, float] = dataclasses.field(default_factory=dict)
    weights_hash: str = ""
    plausibility: Plausibility | None = None
    window_multiple: Window = 1
    network: NetworkSpec | None = None
    members: int = 1
    context_slices: int = 0

    def __post_init__(self):
        expected = set() if self.labels.exclusive else set(self.labels.names)
        if set(self.thresholds) != expected:
            raise UserError(f"expected thresholds of {sorted(expected) or 'no class'}, got {sorted(self.thresholds)}")
        if self.labels.exclusive and self.classes >= LABEL_OF_NAN:
            raise UserError(
                f"expected at most {LABEL_OF_NAN - 1} exclusive classes, got {self.classes}: {LABEL_OF_NAN} is the "
                "label where a probability is not a number"
            )
        if not isinstance(self.postprocessing, Postprocessing):
            steps = self.postprocessing
            if set(steps) != set(self.labels.names):
                raise UserError(f"expected post-processing of {sorted(self.labels.names)}, got {sorted(steps)}")
            if len(set(steps.values())) == 1:
                object.__setattr__(self, "postprocessing", next(iter(steps.values())))  # the dataclass is frozen

    @property
    def patch(self) -> Patch:
        """The part of a volume that one input covers."""
        return Patch(self.window, self.context_slices)

    @property
    def classes(self) -> int:
        """Number of classes or regions, which is the number of channels of the probabilities."""
        return len(self.labels.classes)

    @property
    def contract_version(self) -> int:
        """Version of the file: 2 for one plain region, else 3."""
        return PLAIN_VERSION if self.labels.is_plain else CLASSES_VERSION

    @property
    def threshold(self) -> float:
        """The threshold of a model of one region."""
        (value,) = self.thresholds.values()
        return value

    @property
    def steps(self) -> dict[str, Postprocessing]:
        """The post-processing of the mask of each class."""
        if isinstance(self.postprocessing, Postprocessing):
            return dict.fromkeys(self.labels.names, self.postprocessing)
        return dict(self.postprocessing)

    @property
    def steps_text(self) -> str | dict[str, str]:
        """The post-processing as text, for all classes or by class."""
        if isinstance(self.postprocessing, Postprocessing):
            return str(self.postprocessing)
        return {name: str(steps) for name, steps in self.steps.items()}

    @property
    def limits(self) -> Plausibility:
        """Limits of plausible input images."""
        return self.plausibility or Plausibility.of(self.normalisation)

    def accepting(self, codes: Collection[str]) -> Manifest:
        """This manifest with further codes of `plausibility.ACCEPTABLE` accepted."""
        return dataclasses.replace(self, plausibility=self.limits.accepting(codes)) if codes else self

    @property
    def takes_constants(self) -> bool:
        """Whether `raw` needs normalisation constants, because they depend on the volume."""
        return self.normalisation.fixed is None

    @property
    def signatures(self) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
        """By signature: ``{"inputs": {name: {"dtype", "shape"}}, "outputs": {...}}``; None is a free size."""

        def tensor(dtype: str, *shape: int) -> dict[str, Any]:
            return {"dtype": dtype, "shape": [None, *shape]}

        square = self.patch.spatial
        slices = {INPUT_NAME: tensor("float32", *self.patch.shape)}
        labels = {LABELS_NAME: tensor("uint8", *square, 1 if self.labels.exclusive else self.classes)}
        soft = {OUTPUT_NAME: tensor(self.probabilities_dtype, *square, self.classes)}
        constants = {name: tensor("float32") for name in CONSTANT_NAMES} if self.takes_constants else {}
        tensors = {
            DEFAULT: (slices, labels),
            PROBABILITIES: (slices, soft),
            RAW: (slices | constants, labels | soft),
            SERIALIZED: ({EXAMPLES_NAME: tensor("string")}, labels | soft),
            MANIFEST: ({QUERIES_NAME: tensor("int32")}, {MANIFEST_NAME: tensor("string")}),
        }
        if self.monte_carlo:
            tensors[MONTE_CARLO] = (slices | {SEEDS_NAME: tensor("int32")}, soft)
        return {name: {"inputs": inputs, "outputs": outputs} for name, (inputs, outputs) in tensors.items()}

    @property
    def _derived(self) -> dict[str, Any]:
        """Entries of the file that follow from the fields, for other programs."""
        fixed = self.normalisation.fixed
        return {
            "normalisation_unit": self.normalisation.unit,
            "normalisation_constants": None if fixed is None else dataclasses.asdict(fixed),
            "axis_order": ["slice", "row", "column"],
            "preprocessing": preprocessing_steps(
                self.normalisation.kind if self.crop == "body" else None,
                exclusive=self.labels.exclusive,
                patch=self.patch,
            ),
            "signatures": self.signatures,
            "example_features": {SLICE_FEATURE: {"dtype": "float32", "shape": list(self.patch.shape)}},
            "label_of_nan": LABEL_OF_NAN,
        }

    def to_json(self) -> str:
        """The file's text, which the signature `manifest` gives, too."""
        body: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            if field.name == "labels" and self.labels.is_plain:
                body["label_values"] = list(self.labels.values)
            elif field.name == "thresholds" and self.labels.is_plain:
                (body["threshold"],) = self.thresholds.values()
            elif (field.name, getattr(self, field.name)) in (("members", 1), ("context_slices", 0)):
                continue
            else:
                body[field.name] = getattr(self, field.name)
        if not self.labels.is_plain:
            body |= {"labels": self.labels.to_json(), "thresholds": dict(self.thresholds)}
        body |= {
            "contract_version": self.contract_version,
            "normalisation": str(self.normalisation),
            "postprocessing": self.steps_text,
            "validation_scores": dict(self.validation_scores),
            "network": None if self.network is None else self.network.to_json(),
            "plausibility": None if self.plausibility is None else self.plausibility.to_json(),
            **self._derived,
            "intended_use": "research only, not for clinical use",
        }
        return json.dumps(body, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def save(self, model_folder: str | pathlib.Path) -> None:
        """Writes the manifest into the folder of a SavedModel. TensorFlow Serving does not change it there."""
        atomic_files.write_text(pathlib.Path(model_folder) / RELATIVE_PATH, self.to_json())

    @classmethod
    def load(cls, model_folder: str | pathlib.Path) -> Manifest:
        """Reads the manifest in the folder of a SavedModel; see `load_file`."""
        return cls.load_file(pathlib.Path(model_folder) / RELATIVE_PATH)

    @classmethod
    def load_file(cls, path: str | pathlib.Path) -> Manifest:
        """Reads a manifest from a file.

        Raises:
            UserError: the file is missing, or `from_json` refuses its text.
        """
        body = json_files.load(path, what=_WHAT, remedy=_REMEDY, max_bytes=MAX_BYTES)
        return cls._of(body, str(path))

    @classmethod
    def from_json(cls, text: str | bytes, where: str) -> Manifest:
        """Parses the text of a manifest, e.g. from the signature `manifest`.

        Args:
            text: JSON.
            where: origin of the text, for messages.

        Raises:
            UserError: the text is no JSON, has another contract version, lacks a field, or has invalid or inconsistent
                values.
        """
        return cls._of(json_files.loads(text, what=_WHAT, path=where, remedy=_REMEDY, max_bytes=MAX_BYTES), where)

    @classmethod
    def _of(cls, body: Any, where: str) -> Manifest:
        version = body.get("contract_version") if isinstance(body, dict) else None
        known = {PLAIN_VERSION: Fields2, CLASSES_VERSION: Fields3}
        if isinstance(version, bool) or not isinstance(version, int) or version not in known:
            raise UserError(
                f"expected a manifest of contract version {' or '.join(map(str, known))}, got "
                f"{json.dumps(version)[:40]}",
                path=where,
                remedy=_REMEDY,
            )
        fields = json_files.of_value(body, known[version], what=_WHAT, path=where, remedy=_REMEDY)
        names = {field.name for field in dataclasses.fields(cls)}
        values = {name: value for name, value in vars(fields).items() if name in names}
        try:
            if version == PLAIN_VERSION:
                values["labels"] = LabelDefinition.plain(fields.label_values)
                values["thresholds"] = dict.fromkeys(PLAIN.names, fields.threshold)
            else:
                values["labels"] = fields.labels.definition()
            values["normalisation"] = Normalisation.parse(fields.normalisation)
            values["postprocessing"] = _steps(fields.postprocessing)
            if fields.plausibility is not None:
                values["plausibility"] = Plausibility.from_json(fields.plausibility)
            manifest = cls(**values)
            labels, spec = manifest.labels, manifest.network
            if manifest.contract_version != version:
                raise UserError(f"a model of the labels {labels} has contract version {manifest.contract_version}")
            if spec and (spec.output_channels, spec.exclusive) != (manifest.classes, labels.exclusive):
                raise UserError(f"its network does not have the channels of {labels.described()}")
        except (UserError, ValueError) as error:
            problem = getattr(error, "problem", error)
            raise UserError(f"expected {_WHAT}, but {problem}", path=where, remedy=_REMEDY) from error
        for name, value in json.loads(json.dumps(manifest._derived)).items():
            # Otherwise this package would use the network in another way than the manifest describes.
            if body.get(name, value) != value:
                raise UserError(
                    f"expected {_WHAT}, but its field '{name}' contradicts the other fields or this version of "
                    "the package",
                    path=where,
                    remedy=_REMEDY,
                )
        return manifest


def _steps(text: str | Mapping[str, str]) -> Postprocessing | dict[str, Postprocessing]:
    if isinstance(text, str):
        return Postprocessing.parse(text)
    return {name: Postprocessing.parse(steps) for name, steps in text.items()}
