"""Recipes: values of several settings at once, which hold where the user did not set the option."""

from __future__ import annotations

from typing import Any

# The third-party copy of the Semi-CML script without its leaks: patients are labelled, not slices; no slice
# is chosen by an unlabelled patient's mask; the teacher is chosen on other patients than those of the report.
# The recipe names every knob of Semi-CML and PReL, also where `default` has the same value: tuning `default` must
# not change `paper`.
# The script names its teacher's modality. Here it is `auto`, or a flag of the study. Batch normalisation
# (momentum 0.9, epsilon 1e-5) and the teacher's dropout rates are the script's in every recipe: constants of
# `networks.encoder_decoder`.
PAPER = {
    "bce_weight": 10.0,
    "deep_supervision": False,
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
    "fusion_deviation": 1.0,
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
    "student_view": 0.0,
    "pseudo_labels": "soft",
    "label_weighting": "none",
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
    # Settings of the run.
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
