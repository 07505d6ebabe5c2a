"""What a run is: data, networks, batches, length. Each field is a flag of `semicml_tf.train`."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any

from semicml_tf.errors import UserError
from semicml_tf.methods import catalogue
from semicml_tf.methods.settings import ABOVE_ZERO, RANGES, MethodSettings, knob

# Raised when the same flags come to mean another training: a run of before is then told from one of now.
MEANING = 2
# At their defaults these change nothing of a run of before they were there, which can then be gone on with.
_TOLD_IF_SET = ("precision", "synchronized_statistics", "worker_data")

# What the data's streams, which fold numbers of 32 bits, tell apart.
_HIGHEST_SEED = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class TrainSettings:
    """See each field's help; the defaults are the recipe ``default``."""

    method: tuple[str, ...] = knob(
        ("semi_cml", "prel"), "stages to train one after another; one of these alone is a list of one:"
    )
    epochs: tuple[int, ...] = knob(
        (6, 12),
        "epochs of each stage; a single stage gets their sum. Begin with the default and look at training.png: if "
        "the validation Dice still rises at the end, train a new run with twice as many (docs/training.md)",
    )
    steps_per_epoch: int = knob(
        50,
        "steps between two validations; 0: one pass over the labelled slices that are shown",
    )
    labelled_batch: int = knob(16, "labelled slices a step, over all devices")
    unlabelled_batch: int = knob(16, "unlabelled slices a step, over all devices")
    window: int = knob(64, "side in pixels of the square slices that the networks see; a multiple of 16")
    width: int = knob(16, "channels of the networks' first level")
    lesion_fraction: float = knob(0.67, "share of the labelled slices that is cut where there is lesion")
    augmentation: str = knob("standard", "augmentation, shared by both modalities", ("none", "standard"))
    unlabelled_partitions: tuple[str, ...] = knob(
        ("labelled", "unlabelled"), "partitions that feed the unlabelled stream; labels in them are not read there"
    )
    threshold: float = knob(
        0.0, "probability from which a voxel is foreground; 0: the best on validation, for each modality"
    )
    precision: str = knob(
        "float32",
        "of the networks' features in training; weights, losses and what is exported are float32 always",
        ("float32", "bfloat16", "float16"),
    )
    synchronized_statistics: bool = knob(
        True,
        "with several devices, batch normalisation by the statistics of all of them; else of each one's part",
    )
    worker_data: str = knob(
        "same",
        "with several workers: each reads all shards and takes its part of the same batches, or reads its own shards "
        "alone, every n-th file of a partition",
        ("same", "own"),
    )
    seed: int = knob(0, "of initial weights, data order, augmentation and noise")


def check(train: TrainSettings, method: MethodSettings, modalities: Sequence[str]) -> None:
    """Raises UserError on settings that contradict themselves, each other or the dataset's modalities; names all."""
    catalogue.check(train.method)
    problems, remedies = [], []

    def require(condition: bool, problem: str, remedy: str):
        if not condition:
            problems.append(problem)
            remedies.append(remedy)

    require(
        len(train.epochs) == len(train.method) and min(train.epochs) > 0,
        f"expected positive epochs, one for each of the stages {', '.join(train.method)}, got {list(train.epochs)}",
        "Correct --epochs or --method",
    )
    require(
        train.window > 0 and train.window % 16 == 0,
        f"expected a window that is a positive multiple of 16, got {train.window}",
        "Correct --window",
    )
    require(
        0 <= train.seed <= _HIGHEST_SEED,
        f"expected --seed from 0 to {_HIGHEST_SEED}, got {train.seed}",
        "Correct --seed",
    )
    for name in ("labelled_batch", "width"):
        require(getattr(train, name) > 0, f"expected --{name} above 0, got {getattr(train, name)}", f"Correct --{name}")
    require(
        set(train.unlabelled_partitions) <= {"labelled", "unlabelled"},
        f"expected --unlabelled_partitions among labelled, unlabelled, got {', '.join(train.unlabelled_partitions)}",
        "Patients of the other partitions choose and report; nothing may learn from them",
    )
    require(
        len(modalities) == 2,
        f"expected a dataset of two modalities, got {', '.join(modalities)}",
        "Convert with two --modalities",
    )
    require(
        method.teacher_modality in ("auto", *modalities),
        f"expected --teacher_modality among auto, {', '.join(modalities)}, got '{method.teacher_modality}'",
        "Correct --teacher_modality",
    )
    needs = [name for name in train.method if catalogue.METHODS[name].needs_unlabelled]
    require(
        not needs or bool(train.unlabelled_partitions),
        f"expected --unlabelled_partitions for {', '.join(needs)}, got none",
        "Leave the flag out, or name labelled, unlabelled or both",
    )
    require(
        not needs or train.unlabelled_batch >= 2,
        f"expected at least 2 unlabelled slices a step for {', '.join(needs)}, got {train.unlabelled_batch}",
        "Raise --unlabelled_batch",
    )
    ranges = {"lesion_fraction": (0.0, 1.0), "threshold": (0.0, 0.99), "steps_per_epoch": (0, math.inf)}
    for name, (low, high) in (ranges | RANGES).items():
        value = getattr(train if name in ranges else method, name)
        bounds = f"in [{low:g}, {high:g}]" if high < math.inf else f"of at least {low:g}"
        require(low <= value <= high, f"expected --{name} {bounds}, got {value}", f"Correct --{name}")
    for name in ABOVE_ZERO:
        value = getattr(method, name)
        require(value > 0, f"expected --{name} above 0, got {value}", f"Correct --{name}")
    for name, value in (dataclasses.asdict(train) | dataclasses.asdict(method)).items():
        odd = isinstance(value, float) and not math.isfinite(value)
        require(not odd, f"expected a finite number in --{name}, got {value}", f"Correct --{name}")
    require(
        method.teacher_noise_low <= method.teacher_noise_high,
        f"expected --teacher_noise_low up to --teacher_noise_high, got {method.teacher_noise_low} and "
        f"{method.teacher_noise_high}",
        "Correct either",
    )
    averaging = [name for name in train.method if catalogue.METHODS[name].needs_average(method)]
    require(
        not averaging or method.ema_decay > 0,
        f"--ema_decay=0 leaves no moving average, from which {', '.join(averaging)} would learn with these settings",
        "Pass an --ema_decay above 0; semi_cml does without by --mse_target=student, and prel by --teacher=pool",
    )
    require(
        not method.teacher_batch_statistics or method.teacher == "pool",
        "--teacher_batch_statistics needs --teacher=pool: a moving average keeps its own statistics",
        "Correct either",
    )
    if problems:
        raise UserError("; ".join(problems), remedy="; ".join(dict.fromkeys(remedies)))


def steps_per_epoch(train: TrainSettings, lesion_slices: int, slices: int) -> int:
    """Steps of an epoch: as set, or one pass over the labelled slices that are shown."""
    if train.steps_per_epoch > 0:
        return train.steps_per_epoch
    shown = lesion_slices if train.lesion_fraction >= 1.0 else slices
    return max(1, -(-shown // train.labelled_batch))


def as_flags(train: TrainSettings, method: MethodSettings) -> dict[str, Any]:
    """Both as one dictionary of JSON values, by flag name."""
    return json.loads(json.dumps(dataclasses.asdict(train) | dataclasses.asdict(method)))


def run_hash(train: TrainSettings, method: MethodSettings, data_hash: str, initial_hash: str | None) -> str:
    """Tells whether two runs were asked to do the same; `initial_hash` is that of the run they start from."""
    told = as_flags(train, method)
    for field in dataclasses.fields(train):
        if field.name in _TOLD_IF_SET and told[field.name] == field.default:
            del told[field.name]
    text = json.dumps([MEANING, told, data_hash, initial_hash], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
