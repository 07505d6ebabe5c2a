"""Every knob of the methods. Each is a flag of `semicml_tf.train`.

This file imports neither Keras nor TensorFlow, so that `--help` answers at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from semicml_tf.configuration import option
from semicml_tf.methods.baseline_settings import BaselineSettings


@dataclasses.dataclass(frozen=True)
class MethodSettings(BaselineSettings):
    """See each field's help; the defaults are the recipe ``default``. The baselines' own are in `baseline_settings`."""

    bce_weight: float = option(10.0, "Weight of the cross entropy in the supervised loss.", low=0.0)
    dice_weight: float = option(7.0, "Weight of the Dice loss in the supervised loss.", low=0.0)
    ema_decay: float = option(
        0.99,
        "Decay of the moving average of each student's weights. The average is validated and kept; 0 keeps the student "
        "itself.",
        low=0.0,
        high=0.9999,
    )
    batch_statistics: str = option(
        "each",
        "Statistics of batch normalisation in training: of all slices of a step (joint), or of each stream or view.",
        choices=("joint", "each"),
    )
    asc_weight: float = option(5.0, "Weight of the ASC loss. 0 turns it off.", low=0.0)
    asc_temperature: float = option(1.0, "Temperature of the ASC loss.", above=0.0)
    asc_similarity: str = option("dice", "Area similarity of the ASC loss.", choices=("dice", "iou", "cosine"))
    asc_negatives: str = option(
        "other_patients",
        "Pairs of maps that the ASC loss pushes apart: all of them, or those of different patients only.",
        choices=("all", "other_patients"),
    )
    asc_empty: str = option(
        "skip",
        "Maps without foreground in the ASC loss: keep them, or skip them as negatives and as anchors.",
        choices=("keep", "skip"),
    )
    mse_weight: float = option(
        0.0, "Weight of the squared difference between the modalities' maps. 0 turns it off.", low=0.0
    )
    mse_weighting: str = option(
        "seen",
        "Slices in the squared difference: all (none), or those in which a modality predicts foreground (seen).",
        choices=("none", "seen"),
    )
    mse_target: str = option(
        "average",
        "Target of the squared difference: the other modality's student, or its moving average.",
        choices=("student", "average"),
    )
    burn_in: float = option(0.4, "Fraction of the stage without cross-modal terms.", low=0.0, high=1.0)
    ramp: float = option(
        0.3, "Fraction of the stage, after the burn-in, in which these terms grow to full weight.", low=0.0, high=1.0
    )
    ramp_epochs: int = option(
        0, "Epochs N over which the MSE weight grows as exp(-5 (1 - epoch/N)^2). 0 uses --ramp instead.", low=0
    )
    teacher_modality: str = option(
        "auto",
        "The stronger modality in PReL, which alone teaches with --teachers=better. auto chooses it by validation DSC.",
    )
    teachers: str = option(
        "both",
        "Teachers that make PReL's pseudo-labels: the better modality's, or both together.",
        choices=("better", "both"),
    )
    label_fusion: str = option(
        "odds",
        "How the teachers' maps become one pseudo-label: their mean, or the sum of their log-odds (odds). Log-odds are "
        "relative to the threshold that validation chose for each modality.",
        choices=("mean", "odds"),
    )
    label_sharpness: float = option(1.0, "Factor on that sum of log-odds.", above=0.0)
    teacher: str = option(
        "average",
        "PReL's teacher: the moving average of the student, or a moving average of its best models (pool).",
        choices=("average", "pool"),
    )
    teacher_passes: int = option(1, "Passes of the teacher over a slice. A pseudo-label is their mean.", low=1)
    teacher_dropout: bool = option(False, "Apply dropout in the teacher's passes.")
    teacher_batch_statistics: bool = option(
        False, "Normalise the teacher's features by its batch's statistics, and update the moving ones, as in training."
    )
    teacher_noise: float = option(0.0, "Standard deviation of the noise on the teacher's input.", low=0.0)
    teacher_noise_low: float = option(-0.2, "Lower clip of that noise.")
    teacher_noise_high: float = option(0.2, "Upper clip of that noise.")
    pool_size: int = option(6, "Number of best validation scores that the pool teacher keeps.", low=1)
    pool_first_epoch: int = option(11, "Epoch from which the pool teacher keeps scores.", low=0)
    pool_copy_epoch: int = option(17, "Epoch at which the pool teacher copies the student.", low=0)
    pseudo_labels: str = option(
        "soft",
        "PReL's pseudo-labels: the teachers' map, or this map thresholded at 0.5 (hard).",
        choices=("soft", "hard"),
    )
    prel_weight: float = option(1.0, "Weight of the pseudo-label loss beside the labelled loss.", low=0.0)
    prel_keep_labelled: bool = option(True, "Keep the labelled loss in PReL.")
    prel_asc_weak: float = option(
        0.01, "Fraction of ASC in the pseudo-label loss of the weaker modality.", low=0.0, high=1.0
    )
    prel_asc_strong: float = option(
        0.2, "Fraction of ASC in the pseudo-label loss of the stronger modality.", low=0.0, high=1.0
    )
    prel_strong_from: float = option(
        0.0,
        "Fraction of PReL after which the stronger modality learns from the pseudo-labels, too.",
        low=0.0,
        high=1.0,
    )
    optimizer: str = option("adam", "Optimiser of both students.", choices=("adam", "sgd"))
    learning_rate: float = option(0.003, "Learning rate at its peak.", above=0.0)
    lr_schedule: str = option(
        "cosine",
        "Schedule after the warm-up: a cosine to 0 over the run, a cosine over each stage (restarts), or drops.",
        choices=("cosine", "restarts", "drops"),
    )
    lr_warmup_epochs: float = option(1.0, "Epochs of linear warm-up.", low=0.0)
    lr_drop_epochs: tuple[int, ...] = option((), "Epochs of the run at which the rate falls to a tenth (drops).")
    lr_later_stages: float = option(0.5, "Factor on the learning rate in stages after the first (restarts).", low=0.0)
    l2: float = option(1e-4, "L2 term added to the gradients (PyTorch's weight decay of Adam).", low=0.0)


def from_flags(settings: Mapping[str, Any]) -> MethodSettings:
    """The methods' part of a run's settings, by flag name as in `run.json`; what is not there is at its default."""
    fields = {field.name: field.default for field in dataclasses.fields(MethodSettings)}
    held = {name: settings[name] for name in fields if name in settings}
    return MethodSettings(**{n: tuple(v) if isinstance(fields[n], tuple) else v for n, v in held.items()})
