"""Soft pseudo-labels: a teacher's map is the mean of its passes over noisy slices; teachers' maps become one label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from semicml_tf.methods.catalogue import MethodSettings
from semicml_tf.methods.noisy_teacher import NoisyTeacher
from semicml_tf.networks.precision import full_precision

# Log-odds beyond this are cut: a network that is sure to the last bit would outvote any other.
_SUREST = 1e-4


def _log_odds(p, dtype: str):
    p = ops.clip(ops.cast(p, dtype), _SUREST, 1.0 - _SUREST)
    return ops.log(p) - ops.log(1.0 - p)


def soft_label(maps: Mapping[str, Any], thresholds: Mapping[str, Any], settings: MethodSettings):
    """One label from the teachers' maps of the same slices.

    ``mean``: their mean. ``odds``: ``sigmoid(label_sharpness * sum_m (logit(p_m) - logit(t_m)))``, t_m the
    threshold from which validation calls modality m's voxels foreground. Modalities see a lesion independently of each
    other, or nearly so, and independent evidence adds up in log-odds; a network of few labels is unsure of what it
    sees, and its threshold says where its evidence turns.

    Args:
        maps: probabilities (batch, h, w, 1) by modality.
        thresholds: on them, by modality, scalars.

    Returns:
        (batch, h, w, 1) float32 in [0, 1], cut at 0.5 if labels are ``hard``; no gradient.
    """
    if settings.label_fusion == "odds":
        full = full_precision(next(iter(maps.values())).dtype)
        evidence = sum(_log_odds(p, full) - _log_odds(thresholds[name], full) for name, p in maps.items())
        q = ops.sigmoid(settings.label_sharpness * evidence)
    else:
        q = sum(maps.values()) / len(maps)
    q = ops.stop_gradient(q)
    return ops.cast(q >= 0.5, q.dtype) if settings.pseudo_labels == "hard" else q


class SoftLabeller:
    """``q = mean over passes of teacher(x + clip(noise N(0, 1), low, high))``, dropout on if asked.

    Args:
        teacher: the network; its weights are read at each call.
        settings: passes, noise, dropout, and which batch statistics normalise.
    """

    def __init__(self, teacher: keras.Model, settings: MethodSettings):
        self.settings = settings
        self.teacher = NoisyTeacher(
            teacher,
            noise=settings.teacher_noise,
            low=settings.teacher_noise_low,
            high=settings.teacher_noise_high,
            dropout=settings.teacher_dropout,
            batch_statistics=settings.teacher_batch_statistics,
        )

    def __call__(self, slices, seeds):
        """Maps of `slices` (batch, h, w, 1), with randomness from `seeds` (batch,) int32; same shape, no gradient."""
        passes = [self.teacher(slices, seeds, number) for number in range(self.settings.teacher_passes)]
        return ops.stop_gradient(sum(passes) / len(passes))
