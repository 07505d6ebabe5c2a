"""A run's folder read by what comes after training: which networks, on which data, how good."""

from __future__ import annotations

import csv
import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Annotated, Literal, get_type_hints

from annotated_types import Interval, MinLen
from typing_extensions import NotRequired, TypedDict

from semicml_tf import labels_file
from semicml_tf.errors import UserError
from semicml_tf.geometry.patch import Patch
from semicml_tf.labels import PLAIN, LabelDefinition
from semicml_tf.labels_file import LabelFile
from semicml_tf.methods.catalogue import MethodSettings
from semicml_tf.networks import catalogue
from semicml_tf.networks.spec import MAX_WIDTH, MAX_WINDOW, NetworkSpec, Window
from semicml_tf.runs.settings import TrainSettings
from semicml_tf.system import json_files, npz_files
from semicml_tf.system.digest import sha256
from semicml_tf.system.json_files import Count, Share

FILE_NAME = "run.json"
HISTORY_NAME = "history.csv"
# Of several runs; `ensemble` reads it.
ENSEMBLE_NAME = "ensemble.json"
_REMEDY = "Train it with python -m semicml_tf.train"


class Best(TypedDict):
    """A modality's best network: mean validation DSC, threshold on the probability, training step, method.

    With several regions there is a threshold for each, by name. Exclusive classes have none: the largest probability
    counts.
    """

    dice: float
    threshold: NotRequired[Share | dict[str, Share]]
    step: Count
    stage: str


class InitialSource(TypedDict):
    """Where the initial weights of a modality's network are from; `weights_sha256` is of the weights' file."""

    run: str
    modality: str
    run_hash: str
    data_hash: str
    weights_sha256: str


class Initial(TypedDict):
    """An initialisation: its sources by modality."""

    part: Literal["networks", "encoders"]
    sources: dict[str, InitialSource]


class InitialChain(Initial):
    """The initialisation of a run, and those of its initial runs, newest first."""

    earlier: list[Initial]


# By flag name; a run of an earlier version lacks those of later ones.
Settings = TypedDict("Settings", get_type_hints(TrainSettings) | get_type_hints(MethodSettings), total=False)


class Record(TypedDict):
    """What is read of `run.json`. A run has `best` from its first validation on."""

    dataset: str
    data_hash: str
    run_hash: str
    modalities: Annotated[list[str], MinLen(1)]
    window: NotRequired[Annotated[int, Interval(ge=16, le=MAX_WINDOW)] | tuple[int, int, int]]
    width: NotRequired[Annotated[int, Interval(ge=1, le=MAX_WIDTH)]]
    # Missing in runs of before the specification: they are plain U-Nets.
    network: NotRequired[NetworkSpec]
    # Missing where the target is plain.
    labels: NotRequired[LabelFile]
    best: NotRequired[dict[str, Best]]
    settings: NotRequired[Settings]
    meaning_of_settings: NotRequired[int]
    initial_run: NotRequired[str | None]
    # Missing where the initial weights are random, and in runs of earlier versions.
    initialisation: NotRequired[InitialChain]
    initial_encoders: NotRequired[list[str]]
    epochs_done: NotRequired[Count]
    command: NotRequired[list[str]]
    versions: NotRequired[dict[str, str | None]]


def read_record(folder: str | pathlib.Path, remedy: str = _REMEDY) -> Record:
    """The contents of a run's `run.json`.

    Raises:
        UserError: the file cannot be read, or a field is missing or wrong.
    """
    place = pathlib.Path(folder)
    if (place / ENSEMBLE_NAME).is_file() and not (place / FILE_NAME).exists():
        raise UserError(
            "expected a run's folder, got an ensemble of runs",
            path=folder,
            remedy="Name one of its runs, or export the ensemble with python -m semicml_tf.export",
        )
    return json_files.read(place / FILE_NAME, Record, what="a run's folder", remedy=remedy)


def initialisations(body: Record) -> tuple[Initial, ...]:
    """Where the initial weights of a run are from, newest first; () if they are random."""
    chain = body.get("initialisation")
    return ({"part": chain["part"], "sources": chain["sources"]}, *chain["earlier"]) if chain else ()


def initial_weights_text(body: Record) -> str:
    """For people: where the initial weights of a run are from, without paths; "" if they are random."""
    texts = []
    for one in initialisations(body):
        sources = {(source["run_hash"], source["data_hash"]) for source in one["sources"].values()}
        runs = " and ".join(f"run {run[:12]} (data {data[:12]})" for run, data in sorted(sources))
        texts.append(f"{one['part']} of {runs}")
    return ", which began with ".join(texts)


def weights_file(folder: str | pathlib.Path, modality: str) -> pathlib.Path:
    """Where a run keeps the weights of a modality's best student."""
    return pathlib.Path(folder) / "checkpoints" / f"best-{modality}.npz"


def next_weights_file(folder: str | pathlib.Path, modality: str, step: int) -> pathlib.Path:
    """Where the weights of a better student wait until the checkpoint that tells of them is written."""
    return pathlib.Path(folder) / "checkpoints" / f"next-{modality}-{step}.npz"


def stage_weights_file(folder: str | pathlib.Path, stage: int, modality: str) -> pathlib.Path:
    """Where a run keeps the network that a modality had at the end of a stage, for all stages but the last.

    Args:
        stage: its number, from 0.
    """
    return pathlib.Path(folder) / "checkpoints" / f"stage-{stage}-{modality}.npz"


def teacher_weights_file(folder: str | pathlib.Path, stage: int, modality: str) -> pathlib.Path:
    """Where a run keeps a modality's teacher as it was when the stage began in which it writes labels."""
    return pathlib.Path(folder) / "checkpoints" / f"stage-{stage}-teacher-{modality}.npz"


def fusion_file(folder: str | pathlib.Path, stage: int) -> pathlib.Path:
    """The fitted slopes and offsets of the teachers as they were when the stage began in which they write labels."""
    return pathlib.Path(folder) / "checkpoints" / f"stage-{stage}-fusion.npz"


def checkpoint_file(folder: str | pathlib.Path) -> pathlib.Path:
    """The last checkpoint, from which a run resumes."""
    return pathlib.Path(folder) / "checkpoints" / "last.npz"


def picture_file(folder: str | pathlib.Path, epoch: int) -> pathlib.Path:
    """An epoch's picture, the last file that is written of it."""
    return pathlib.Path(folder) / "pictures" / f"epoch-{epoch:03d}.png"


def read_history(folder: str | pathlib.Path) -> list[dict[str, str]]:
    """The rows of a run's history.csv, a row an epoch; values as text, "" where an epoch has none.

    Raises:
        UserError: it cannot be read.
    """
    path = pathlib.Path(folder) / HISTORY_NAME
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))
    except OSError as error:
        problem = f"expected a run's history, but it cannot be read ({error.strerror})"
        raise UserError(problem, path=path, remedy=_REMEDY) from error


def _spec(body: Record, path: pathlib.Path) -> NetworkSpec:
    """What a run's networks were built from."""
    try:
        if "network" not in body:
            return catalogue.specification("unet", window=body["window"], width=body["width"])
        spec = json_files.of_value(body["network"], NetworkSpec, what="a run's folder", path=path, remedy=_REMEDY)
        Patch.of_channels(spec.window, spec.input_channels)
        return spec
    except ValueError as error:
        raise UserError(f"expected a run's folder, but {error}", path=path, remedy=_REMEDY) from error


def _labels(body: Record, path: pathlib.Path) -> LabelDefinition:
    """What a run segments; of each modality's best network, the thresholds are of these classes."""
    if "labels" not in body:
        return PLAIN
    labels = labels_file.of_value(body["labels"], what="a run's folder", path=path, remedy=_REMEDY)
    for name, entry in body.get("best", {}).items():
        if set(_by_class(entry, labels)) != (set() if labels.exclusive else set(labels.names)):
            problem = f"expected a run's folder, but the thresholds of {name} are not those of {labels}"
            raise UserError(problem, path=path, remedy=_REMEDY)
    return labels


def _by_class(entry: Best, labels: LabelDefinition) -> dict[str, float]:
    """The thresholds of a best network by class; {} for exclusive classes."""
    value = entry.get("threshold", {})
    return value if isinstance(value, dict) else {labels.names[0]: value}


@dataclasses.dataclass(frozen=True)
class Run:
    """What `run.json` says of a run.

    Attributes:
        folder: the run's folder.
        dataset: folder or URL of the converted data that it was trained on.
        data_hash: of that data.
        run_hash: of the settings, seed and data.
        modalities: names, one network each.
        spec: what each network was built from.
        best: by modality, ``{"dice": mean validation DSC, "threshold": on the probability, chosen on
            validation, "step": training step, "stage": method}``.
        labels: what is segmented.
        initialisation: where its initial weights are from, those of its initial runs last; () if they are random.
    """

    folder: pathlib.Path
    dataset: str
    data_hash: str
    run_hash: str
    modalities: tuple[str, ...]
    spec: NetworkSpec
    best: dict[str, dict]
    labels: LabelDefinition = PLAIN
    initialisation: tuple[Initial, ...] = ()

    @property
    def window(self) -> Window:
        """Side in pixels of the slices, or (slices, rows, columns) of the patches."""
        return self.spec.window

    @property
    def patch(self) -> Patch:
        """What one input of its networks covers."""
        return self.spec.patch

    @classmethod
    def load(cls, folder: str | pathlib.Path) -> Run:
        """Reads a run that has finished at least one validation.

        Raises:
            UserError: it is no run's folder, or has no trained network yet.
        """
        path = pathlib.Path(folder) / FILE_NAME
        body = read_record(folder)
        lacking = [name for name in ("window", "width", "best") if name not in body]
        if lacking or not set(body["modalities"]) <= set(body["best"]):
            raise UserError(
                f"expected a run's folder, but {', '.join(lacking) or 'best of a modality'} is missing",
                path=path,
                remedy=_REMEDY,
            )
        run = cls(
            folder=pathlib.Path(folder),
            modalities=tuple(body["modalities"]),
            spec=_spec(body, path),
            labels=_labels(body, path),
            initialisation=initialisations(body),
            **{name: body[name] for name in ("dataset", "data_hash", "run_hash", "best")},
        )
        missing = [name for name in run.modalities if not run.weights_file(name).is_file()]
        if missing:
            raise UserError(
                f"this run has no trained network for {', '.join(missing)} yet", path=folder, remedy=_REMEDY
            )
        return run

    def only(self, modalities: Sequence[str]) -> Run:
        """This run with some of its networks; none named means all.

        Raises:
            UserError: the run has no such modality.
        """
        unknown = [name for name in modalities if name not in self.modalities]
        if unknown:
            raise UserError(
                f"expected --modalities among {', '.join(self.modalities)}, got '{unknown[0]}'", path=self.folder
            )
        chosen = tuple(name for name in self.modalities if name in modalities)
        return dataclasses.replace(self, modalities=chosen or self.modalities)

    def threshold(self, modality: str) -> float:
        """The probability from which the modality's network calls a voxel foreground; of a target with one region."""
        (value,) = self.thresholds(modality).values()
        return value

    def thresholds(self, modality: str) -> dict[str, float]:
        """By region, the probability from which a voxel belongs to it; {} for exclusive classes."""
        return {name: float(value) for name, value in _by_class(self.best[modality], self.labels).items()}

    def weights_file(self, modality: str) -> pathlib.Path:
        """The file of the modality's best weights. A kill may have come before it replaced the former one."""
        if modality in self.best:
            waiting = next_weights_file(self.folder, modality, self.best[modality]["step"])
            if waiting.is_file():
                return waiting
        return weights_file(self.folder, modality)

    def weights_hash(self, modality: str) -> str:
        """SHA-256 (hex) of the file of the modality's best weights, where `run_hash` is of settings and data alone."""
        return sha256(self.weights_file(modality))

    def network(self, modality: str):
        """The modality's best student: a `keras.Model` (batch, *space, channels) float32 -> probabilities.

        Raises:
            UserError: the run has no such modality.
        """
        return self.network_of(self.weights_file(modality), modality)

    def network_of(self, path: pathlib.Path, modality: str, prefix: str = ""):
        """A network of a modality with the weights of a file, as `network`.

        Args:
            path: one of the files named above.
            prefix: of the network's arrays in it; a checkpoint holds several.

        Raises:
            UserError: the run has no such modality, or the file no such weights.
        """
        if modality not in self.modalities:
            raise UserError(
                f"expected one of the modalities {', '.join(self.modalities)}, got '{modality}'", path=self.folder
            )
        network = catalogue.build(self.spec, name=modality)
        try:
            with npz_files.Arrays(path) as stored:
                count = sum(key.startswith(prefix) for key in stored)
                network.set_weights([stored[f"{prefix}{index:04d}"] for index in range(count)])
        except npz_files.BROKEN as error:
            raise UserError(f"these weights cannot be read ({error})", path=path, remedy=_REMEDY) from error
        return network
