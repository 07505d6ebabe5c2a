"""Soft pseudo-labels: the mean of a teacher's passes over slightly noisy slices."""

from __future__ import annotations

import keras
from keras import ops

from semicml_tf.methods.settings import MethodSettings
from semicml_tf.networks import sample_noise
from semicml_tf.networks.unet import unet

# Tells the input noise's draws from the dropout masks', which are salted with their level.
_NOISE_SALT = 1000


class SoftLabeller:
    """``q = mean over passes of teacher(x + clip(noise N(0, 1), low, high))``, dropout on if asked.

    Args:
        teacher: the network; its weights are read at each call.
        settings: passes, noise, dropout, and which batch statistics normalise.
    """

    def __init__(self, teacher: keras.Model, settings: MethodSettings):
        self.settings = settings
        window = teacher.input_shape[1]
        # The width matters to no shared layer, only to the shapes between them.
        width = teacher.get_layer("encoder0a_conv").filters
        self._network = unet(window, width, name="teacher", dropout_on=teacher) if settings.teacher_dropout else teacher

    def __call__(self, slices, seeds):
        """Labels of `slices` (batch, h, w, 1), with randomness from `seeds` (batch,) int32; same shape, no gradient."""
        how = self.settings
        passes = []
        for number in range(how.teacher_passes):
            own = seeds + number * 7919
            x = slices
            if how.teacher_noise > 0:
                noise = how.teacher_noise * sample_noise.normal(own, tuple(slices.shape[1:]), _NOISE_SALT)
                x = x + ops.clip(noise, how.teacher_noise_low, how.teacher_noise_high)
            inputs = [x, own] if how.teacher_dropout else x
            passes.append(self._network(inputs, training=how.teacher_batch_statistics))
        q = ops.stop_gradient(sum(passes) / len(passes))
        return ops.cast(q >= 0.5, "float32") if how.pseudo_labels == "hard" else q
