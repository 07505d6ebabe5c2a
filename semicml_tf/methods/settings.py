"""Every knob of the methods. Each is a flag of `semicml_tf.train`; recipes set several at once.

This file imports neither Keras nor TensorFlow, so that `--help` answers at once.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from semicml_tf.methods import baseline_settings
from semicml_tf.methods.baseline_settings import BaselineSettings, knob


@dataclasses.dataclass(frozen=True)
class MethodSettings(BaselineSettings):
    """See each field's help; the defaults are the recipe ``default``. The baselines' own are in `baseline_settings`."""

    bce_weight: float = knob(10.0, "weight of the cross entropy in the supervised loss")
    dice_weight: float = knob(7.0, "weight of the Dice loss in the supervised loss")
    ema_decay: float = knob(
        0.99, "decay of the moving average of each student's weights, the network that is validated and kept; 0: none"
    )
    batch_statistics: str = knob(
        "each",
        "batch normalisation in training: statistics of all slices of a step, or of each stream (or view) alone",
        ("joint", "each"),
    )
    asc_weight: float = knob(5.0, "weight of the ASC loss; 0 turns it off")
    asc_temperature: float = knob(1.0, "temperature of the ASC loss")
    asc_similarity: str = knob("dice", "area similarity of the ASC loss", ("dice", "iou", "cosine"))
    asc_negatives: str = knob(
        "other_patients",
        "maps that the ASC loss pushes apart: all, or other patients' only",
        ("all", "other_patients"),
    )
    asc_empty: str = knob(
        "skip", "ASC on maps without foreground: keep them, or skip them as negatives and as anchors", ("keep", "skip")
    )
    mse_weight: float = knob(0.0, "weight of the squared difference of the two modalities; 0 turns it off")
    mse_weighting: str = knob(
        "seen", "squared difference on all slices, or on those where a modality sees something", ("none", "seen")
    )
    mse_target: str = knob(
        "average",
        "what each student's map is compared with: the other student, or the other modality's moving average",
        ("student", "average"),
    )
    burn_in: float = knob(0.4, "share of the stage without cross-modal terms")
    ramp: float = knob(0.3, "share of the stage, after the burn-in, in which they grow to full weight")
    ramp_epochs: int = knob(0, "grow the MSE weight as exp(-5 (1 - epoch/N)^2) over N epochs instead; 0: by --ramp")
    teacher_modality: str = knob(
        "auto",
        "the stronger modality in PReL, which alone teaches with --teachers=better; auto: the better one on validation",
    )
    teachers: str = knob(
        "both", "whose teacher writes PReL's labels: the better modality's, or both together", ("better", "both")
    )
    label_fusion: str = knob(
        "odds",
        "how teachers' maps become a label: their mean, or the sum of their log-odds, counted from the threshold that "
        "validation chose for each",
        ("mean", "odds"),
    )
    label_sharpness: float = knob(1.0, "factor on that sum (odds)")
    teacher: str = knob(
        "average",
        "PReL's teacher: the moving average of the student, or a moving average of its best models (pool)",
        ("average", "pool"),
    )
    teacher_passes: int = knob(1, "passes of the teacher that a soft label is the mean of")
    teacher_dropout: bool = knob(False, "dropout in the teacher's passes")
    teacher_batch_statistics: bool = knob(
        False, "the teacher normalises by its batch's statistics, and updates its moving ones, as in training"
    )
    teacher_noise: float = knob(0.0, "standard deviation of the noise on the teacher's input")
    teacher_noise_low: float = knob(-0.2, "lower clip of that noise")
    teacher_noise_high: float = knob(0.2, "upper clip of that noise")
    pool_size: int = knob(6, "best validation scores that the pool teacher keeps")
    pool_first_epoch: int = knob(11, "epoch from which the pool teacher keeps scores")
    pool_copy_epoch: int = knob(17, "epoch at which the pool teacher copies the student")
    pseudo_labels: str = knob("soft", "PReL's labels: the teacher's maps, or these cut at 0.5", ("soft", "hard"))
    prel_weight: float = knob(1.0, "weight of the pseudo-labels' loss beside the labelled one")
    prel_keep_labelled: bool = knob(True, "keep the labelled loss in PReL")
    prel_asc_weak: float = knob(0.01, "share of ASC in the pseudo-labels' loss of the weaker modality")
    prel_asc_strong: float = knob(0.2, "share of ASC in the pseudo-labels' loss of the stronger modality")
    prel_strong_from: float = knob(0.0, "share of PReL after which the stronger modality learns from the labels, too")
    optimizer: str = knob("adam", "optimiser of both students", ("adam", "sgd"))
    learning_rate: float = knob(0.003, "learning rate at its peak")
    lr_schedule: str = knob(
        "cosine",
        "after the warm-up: a cosine to 0 over the run, one over each stage, or drops",
        ("cosine", "restarts", "drops"),
    )
    lr_warmup_epochs: float = knob(1.0, "epochs of linear warm-up")
    lr_drop_epochs: tuple[int, ...] = knob((), "epochs of the run at which the rate falls to a tenth (drops)")
    lr_later_stages: float = knob(0.5, "factor on the learning rate in stages after the first (restarts)")
    l2: float = knob(1e-4, "L2 term added to the gradients (PyTorch's weight decay of Adam)")


# By name, the lowest and highest value, of the baselines' knobs, too.
RANGES = {
    **dict.fromkeys(("bce_weight", "dice_weight", "asc_weight", "mse_weight", "prel_weight", "l2"), (0.0, math.inf)),
    **dict.fromkeys(("burn_in", "ramp", "prel_asc_weak", "prel_asc_strong", "prel_strong_from"), (0.0, 1.0)),
    "ema_decay": (0.0, 0.9999),
    **dict.fromkeys(("teacher_passes", "pool_size"), (1, math.inf)),
    **dict.fromkeys(("ramp_epochs", "pool_first_epoch", "pool_copy_epoch", "teacher_noise"), (0, math.inf)),
    **dict.fromkeys(("lr_warmup_epochs", "lr_later_stages"), (0.0, math.inf)),
    **baseline_settings.RANGES,
}
ABOVE_ZERO = ("asc_temperature", "label_sharpness", "learning_rate")


# The third-party copy of the script, its leaks repaired: patients are labelled, not slices; no slice
# is chosen by an unlabelled patient's mask; teacher and report read different patients.
# Every knob of Semi-CML and PReL stands here, also where `default` has the same value: tuning that one must
# not change this one.
# The script names its teacher's modality; `auto` here, and a flag of the study. Batch normalisation (momentum 0.9,
# epsilon 1e-5) and the teacher's dropout rates are the script's in every recipe: constants of `networks.unet`.
PAPER = {
    "bce_weight": 10.0,
    "dice_weight": 7.0,
    "ema_decay": 0.0,
    "batch_statistics": "joint",
    "asc_weight": 3.5,
    "asc_temperature": 1.0,
    "asc_similarity": "dice",
    "mse_weight": 1.0,
    "asc_negatives": "all",
    "asc_empty": "keep",
    "mse_weighting": "none",
    "mse_target": "student",
    "burn_in": 0.0,
    "ramp": 0.0,
    "ramp_epochs": 200,
    "teacher_modality": "auto",
    "teachers": "better",
    "label_fusion": "mean",
    "label_sharpness": 1.0,
    "teacher": "pool",
    "teacher_passes": 4,
    "teacher_dropout": True,
    "teacher_batch_statistics": True,
    "teacher_noise": 0.1,
    "teacher_noise_low": 0.0,
    "teacher_noise_high": 0.2,
    "pool_size": 6,
    "pool_first_epoch": 11,
    "pool_copy_epoch": 17,
    "pseudo_labels": "soft",
    "prel_weight": 1.0,
    "prel_keep_labelled": False,
    "prel_asc_weak": 0.01,
    "prel_asc_strong": 0.2,
    "prel_strong_from": 0.8,
    "optimizer": "adam",
    "learning_rate": 0.006,
    "lr_schedule": "drops",
    "lr_warmup_epochs": 8.0,
    "lr_drop_epochs": (12, 28, 44, 56),
    "lr_later_stages": 1.0,
    "l2": 4e-4,
    # Flags of the trainer.
    "width": 32,
    "epochs": (51, 30),
    "steps_per_epoch": 0,
    "labelled_batch": 30,
    "unlabelled_batch": 26,
    "lesion_fraction": 1.0,
    "augmentation": "none",
    "threshold": 0.5,
    "unlabelled_partitions": ("unlabelled",),
}
RECIPES: dict[str, dict[str, Any]] = {"default": {}, "paper": PAPER}


def from_flags(settings: Mapping[str, Any]) -> MethodSettings:
    """The methods' part of a run's settings, by flag name as in `run.json`; what is not there is at its default."""
    fields = {field.name: field.default for field in dataclasses.fields(MethodSettings)}
    held = {name: settings[name] for name in fields if name in settings}
    return MethodSettings(**{n: tuple(v) if isinstance(fields[n], tuple) else v for n, v in held.items()})
