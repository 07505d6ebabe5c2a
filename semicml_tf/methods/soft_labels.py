"""Soft pseudo-labels: the mean of a teacher's passes over slightly noisy slices."""

from __future__ import annotations

import keras
from keras import ops

from semicml_tf.methods.noisy_teacher import NoisyTeacher
from semicml_tf.methods.settings import MethodSettings


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
        """Labels of `slices` (batch, h, w, 1), with randomness from `seeds` (batch,) int32; same shape, no gradient."""
        passes = [self.teacher(slices, seeds, number) for number in range(self.settings.teacher_passes)]
        q = ops.stop_gradient(sum(passes) / len(passes))
        return ops.cast(q >= 0.5, "float32") if self.settings.pseudo_labels == "hard" else q
