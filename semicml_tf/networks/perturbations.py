"""Perturbations of features, on whenever they are called, drawn from the samples' seeds.

Called with ``[x (batch, *space, channels), seeds (batch,) int32]``; the result has the shape of x. After
Ouali et al., CVPR 2020, arXiv 2003.09005 (CCT), as in the SSL4MIS collection's U-Nets. Dropout is
`sample_noise.SampleDropout`.
"""

from __future__ import annotations

import keras
from keras import ops

from semicml_tf.networks import sample_noise


class _Perturbation(keras.layers.Layer):
    """A layer with a salt that tells its draws from other layers'."""

    def __init__(self, salt: int, **kwargs):
        super().__init__(**kwargs)
        self.salt = salt

    def compute_output_shape(self, input_shape):
        return input_shape[0]

    def get_config(self):
        return {**super().get_config(), "salt": self.salt}


@keras.saving.register_keras_serializable(package="semicml_tf")
class FeatureNoise(_Perturbation):
    """``x (1 + u)`` with u uniform in [-0.3, 0.3) for each element."""

    RANGE = 0.3

    def call(self, inputs):
        x, seeds = inputs
        drawn = sample_noise.uniform(seeds, tuple(x.shape[1:]), self.salt)
        return x * ops.cast(1.0 + self.RANGE * (2.0 * drawn - 1.0), x.dtype)


@keras.saving.register_keras_serializable(package="semicml_tf")
class FeatureDrop(_Perturbation):
    """Removes the pixels whose mean over the channels reaches u times the sample's largest, u uniform in [0.7, 0.9)."""

    LOW, HIGH = 0.7, 0.9

    def call(self, inputs):
        x, seeds = inputs
        attention = ops.mean(x, axis=-1, keepdims=True)
        axes = tuple(range(1, len(x.shape)))
        share = self.LOW + (self.HIGH - self.LOW) * sample_noise.uniform(seeds, (1,) * len(axes), self.salt)
        limit = ops.max(attention, axis=axes, keepdims=True) * ops.cast(share, x.dtype)
        return x * ops.cast(attention < limit, x.dtype)
