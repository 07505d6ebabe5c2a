"""What a run is: data, networks, batches, length. Each field is a flag of `semicml_tf.train`."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from semicml_tf.configuration import Problem, as_list, option, text_of
from semicml_tf.errors import UserError
from semicml_tf.geometry.patch import MAX_CONTEXT_SLICES, Patch, spatial_of
from semicml_tf.input.augmentation import FORMER_LEVELS, LEVELS
from semicml_tf.labels import LabelDefinition
from semicml_tf.methods import catalogue
from semicml_tf.methods.catalogue import MethodSettings
from semicml_tf.networks import catalogue as networks
from semicml_tf.networks.spec import MAX_WIDTH, MAX_WINDOW, NetworkSpec

# Increased when the same flags come to mean another training: runs before and after then have different hashes.
MEANING = 2
# The settings of the first runs. Later ones enter the hash only where they differ from their default, so that a new
# knob or setting changes no hash, and earlier runs can be resumed.
_ALWAYS_HASHED = frozenset(
    """
    asc_empty asc_negatives asc_similarity asc_temperature asc_weight augmentation auxiliary_supervised
    batch_statistics bce_weight burn_in confidence dice_weight ema_decay epochs input_noise l2 label_fusion
    label_sharpness labelled_batch learning_rate lesion_fraction lr_drop_epochs lr_later_stages lr_schedule
    lr_warmup_epochs method mixup_alpha mse_target mse_weight mse_weighting optimizer pool_copy_epoch
    pool_first_epoch pool_size prel_asc_strong prel_asc_weak prel_keep_labelled prel_strong_from prel_weight
    pseudo_labels ramp ramp_epochs seed steps_per_epoch strong_view teacher teacher_batch_statistics teacher_dropout
    teacher_modality teacher_noise teacher_noise_high teacher_noise_low teacher_passes teachers threshold
    uncertainty_dropout uncertainty_limit uncertainty_passes unlabelled_batch unlabelled_partitions unlabelled_ramp
    unlabelled_weight width window
    """.split()
)

_MOST_SLICES = 2**16
# The data's streams fold the seed into numbers of 32 bits.
_HIGHEST_SEED = 2**31 - 1

# Headings of the help.
FIRST = "Flags that every run needs"
DATA = "Flags of data, batches and networks"


_NETWORKS = "\n".join(f"{name}: {entry.help}" for name, entry in networks.NETWORKS.items())
_METHODS = "\n".join(f"{name}: {entry.help}" for name, entry in catalogue.METHODS.items())


@dataclasses.dataclass(frozen=True)
class TrainSettings:
    """See each field's help; the defaults are the recipe ``default``."""

    method: tuple[str, ...] = option(
        ("semi_cml", "prel"), f"Methods of the stages, which are trained one after another:\n{_METHODS}\n", group=FIRST
    )
    epochs: tuple[int, ...] = option(
        (6, 12),
        "Epochs of each stage; a single stage gets their sum. If the validation DSC in training.png still rises at the "
        "end, train a new run with twice as many (docs/training.md).",
        high=100_000,
        group=FIRST,
    )
    steps_per_epoch: int = option(
        50,
        "Steps between two validations. 0 means one pass over the labelled slices that are shown; of "
        "patches, as many as cover these slices without overlap.",
        low=0,
        high=10**6,
        group=DATA,
    )
    labelled_batch: int = option(
        16, "Labelled slices per step, over all devices.", low=1, high=_MOST_SLICES, group=DATA
    )
    unlabelled_batch: int = option(16, "Unlabelled slices per step, over all devices.", high=_MOST_SLICES, group=DATA)
    network: str = option(
        "unet", f"Network of each modality:\n{_NETWORKS}\n", choices=tuple(networks.NETWORKS), group=DATA
    )
    window: int | tuple[int, int, int] = option(
        64,
        "Side in pixels of the square slices that the networks see, a multiple of 16. Three numbers are the slices, "
        "rows and columns of the patches of a network with 3 dimensions.",
        low=1,
        high=MAX_WINDOW,
        group=FIRST,
    )
    context_slices: int = option(
        0,
        "Neighbouring slices on each side that the networks see beside each slice, as further channels. 0: the slice "
        "alone. The ends of a volume are mirrored.",
        low=0,
        high=MAX_CONTEXT_SLICES,
        group=DATA,
    )
    width: int = option(16, "Channels of the networks' first level.", low=1, high=MAX_WIDTH, group=DATA)
    lesion_fraction: float = option(
        0.67, "Fraction of the labelled slices that are cut around a lesion.", low=0.0, high=1.0, group=DATA
    )
    augmentation: str = option(
        "light",
        "Random variation of the slices, in one geometry for all modalities. light: position, flip, rotation, scale, "
        "gain, offset, noise. strong: also elastic deformation, gamma, bias field for MR, blur, low resolution, and "
        "CutMix between patients.",
        choices=tuple(LEVELS),
        former=FORMER_LEVELS,
        group=DATA,
    )
    unlabelled_partitions: tuple[str, ...] = option(
        ("labelled", "unlabelled"),
        "Partitions of the unlabelled stream, of labelled and unlabelled. Their labels are not read there.",
        group=DATA,
    )
    incomplete_cases: str = option(
        "use",
        "Patients without all modalities: train each network on the images that there are (use), or skip these "
        "patients (drop).",
        choices=("use", "drop"),
        group=DATA,
    )
    threshold: float = option(
        0.0,
        "Probability from which a voxel is foreground. 0 chooses it for each modality by validation DSC.",
        low=0.0,
        high=0.99,
        group=DATA,
    )
    precision: str = option(
        "float32",
        "Precision of the networks' features in training. Weights, losses and exported models are float32.",
        choices=("float32", "bfloat16", "float16"),
        group=DATA,
    )
    synchronized_statistics: bool = option(
        True,
        "With several devices, normalise by the batch statistics of all devices, not of each device alone.",
        group=DATA,
    )
    worker_data: str = option(
        "same",
        "Data of several workers: each takes its part of the same batches (same), or each reads every n-th shard of a "
        "partition (own).",
        choices=("same", "own"),
        group=DATA,
    )
    seed: int = option(
        0,
        "Seed of the initial weights, the order of the data, augmentation and noise.",
        low=0,
        high=_HIGHEST_SEED,
        group=DATA,
    )

    @property
    def patch(self) -> Patch:
        """What one input of the networks covers."""
        return Patch(self.window, self.context_slices)

    def spec_for(self, labels: LabelDefinition, spacing_mm: Sequence[float]) -> NetworkSpec:
        """What the network of each modality is built from, with a channel per class of `labels`.

        Args:
            spacing_mm: (slice, row, column) of the dataset's grid; 0 = each case's own.

        Raises:
            UserError: no such network can be built for the window.
        """
        try:
            return networks.specification(
                self.network,
                window=self.window,
                width=self.width,
                classes=len(labels.names),
                activation=labels.activation,
                spacing_mm=spacing_mm,
                context_slices=self.context_slices,
            )
        except ValueError as error:
            raise UserError(str(error), remedy="Correct --window") from error


def contradictions(train: TrainSettings, method: MethodSettings) -> Iterator[Problem]:
    """The problems of settings that are right one by one, each with its remedy."""
    if unknown := catalogue.unknown(train.method):
        yield unknown
        return
    if len(train.epochs) != len(train.method) or min(train.epochs) <= 0:
        yield (
            f"expected positive --epochs, one for each of the stages {', '.join(train.method)}, got "
            f"{as_list(train.epochs)}",
            "",
        )
    if network := networks.NETWORKS.get(train.network):
        multiple, sizes = 2 ** (network.levels - 1), spatial_of(train.window)
        if len(sizes) not in network.dimensions:
            numbers = " or ".join({2: "1 number", 3: "3 numbers"}[count] for count in network.dimensions)
            yield f"expected --window of {numbers} for {train.network}, got {_text(train.window)}", ""
        elif len(sizes) == 3:
            if train.context_slices:
                problem = f"expected --context_slices=0 for patches, got {train.context_slices}"
                yield problem, "Leave --context_slices out: a patch has its neighbours"
        elif train.window % multiple:
            yield f"expected --window to be a positive multiple of {multiple}, got {train.window}", ""
        if method.deep_supervision and "decoder" not in network.features:
            problem = f"expected a --network with decoder features for --deep_supervision, got {train.network}"
            yield problem, "Choose another --network, or leave --deep_supervision out"
        for name in train.method:
            if lacking := catalogue.METHODS[name].lacking(network, method):
                problem = f"expected a --network with {lacking} for {name}, got {train.network}"
                yield problem, "Choose another --network or --method"
    if others := sorted(set(train.unlabelled_partitions) - {"labelled", "unlabelled"}):
        yield (
            f"expected --unlabelled_partitions among labelled, unlabelled, got {', '.join(others)}",
            "Leave out the other partitions: their patients choose and report, so nothing may learn from them",
        )
    needs = ", ".join(name for name in train.method if catalogue.METHODS[name].needs_unlabelled)
    if needs and not train.unlabelled_partitions:
        yield (
            f"expected --unlabelled_partitions for {needs}, got none",
            "Leave the flag out, or name labelled, unlabelled or both",
        )
    if needs and train.unlabelled_batch < 2:
        yield (
            f"expected at least 2 unlabelled slices per step for {needs}, got {train.unlabelled_batch}",
            "Raise --unlabelled_batch",
        )
    averaging = ", ".join(name for name in train.method if catalogue.METHODS[name].needs_average(method))
    if averaging and method.ema_decay <= 0:
        yield (
            f"--ema_decay=0 leaves no moving average, from which {averaging} would learn with these settings",
            "Pass an --ema_decay above 0; semi_cml does without by --mse_target=student, and prel by --teacher=pool",
        )
    yield from catalogue.contradictions(method)


def check_modalities(train: TrainSettings, method: MethodSettings, modalities: Sequence[str]) -> None:
    """Raises UserError on settings that contradict the dataset's modalities."""
    for name in train.method:
        if len(modalities) < (least := catalogue.METHODS[name].least_modalities):
            single = [other for other, entry in catalogue.METHODS.items() if entry.least_modalities == 1]
            raise UserError(
                f"expected a dataset of at least {least} modalities for {name}, got {', '.join(modalities)}",
                remedy=f"Convert with more --modalities, or choose --method among {', '.join(single)}",
            )
    if method.teacher_modality not in ("auto", *modalities):
        raise UserError(
            f"expected --teacher_modality among auto, {', '.join(modalities)}, got '{method.teacher_modality}'",
            remedy="Correct --teacher_modality",
        )


def differences(before: Mapping[str, Any], now: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """How two sets of flags differ, each as ``--name=BEFORE, now VALUE``.

    Args:
        before: flags by name as they were; a flag that it lacks was unknown then and had its default.
        now: as they are.
        defaults: by name.
    """
    return [
        f"--{name}={_text(before.get(name, defaults.get(name)))}, now {_text(now.get(name, defaults.get(name)))}"
        for name in sorted({*before, *now})
        if before.get(name, defaults.get(name)) != now.get(name, defaults.get(name))
    ]


def _text(value: Any) -> str:
    return as_list(value) if isinstance(value, (list, tuple)) else text_of(value)


def as_flags(train: TrainSettings, method: MethodSettings) -> dict[str, Any]:
    """Both as one dictionary of JSON values, by flag name."""
    return json.loads(json.dumps(dataclasses.asdict(train) | dataclasses.asdict(method)))


def recorded_flags(record: Mapping[str, Any]) -> dict[str, Any]:
    """The flags in a run's `run.json`, by the names and values of this version.

    Runs of earlier versions dropped patients without all modalities, and had other names of augmentation.
    """
    flags = dict(record.get("settings", {}))
    if (level := flags.get("augmentation")) in FORMER_LEVELS:
        flags["augmentation"] = FORMER_LEVELS[level]
    return {"incomplete_cases": "drop", **flags} if record.get("unlabelled_left_out") else flags


def run_hash(
    train: TrainSettings,
    method: MethodSettings,
    data_hash: str,
    initial_hash: str | None,
    *,
    incomplete: bool = False,
) -> str:
    """SHA-256 of what a run was asked to do.

    Args:
        train, method: its settings.
        data_hash: of the dataset.
        initial_hash: run hash of the run whose networks are the initial ones, if any.
        incomplete: whether a case that may train lacks a modality. `incomplete_cases` changes nothing otherwise, and
            ``drop`` was the only way of earlier versions.
    """
    settings = as_flags(train, method)
    for part in (train, method):
        for field in dataclasses.fields(part):
            if field.name not in _ALWAYS_HASHED and getattr(part, field.name) == field.default:
                del settings[field.name]
    # Hashes have the former names, so that earlier runs can be resumed.
    former = {level: name for name, level in FORMER_LEVELS.items()}
    settings["augmentation"] = former.get(train.augmentation, train.augmentation)
    settings.pop("incomplete_cases", None)
    if incomplete and train.incomplete_cases == "use":
        settings["incomplete_cases"] = "use"
    text = json.dumps([MEANING, settings, data_hash, initial_hash], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
