"""Passes of a network over noisy slices, optionally with dropout."""

from __future__ import annotations

from keras import ops

from semicml_tf.networks import catalogue, sample_noise
from semicml_tf.networks.network import Network

# Separates the input noise from the dropout masks, whose salts are the levels of the network.
_NOISE_SALT = 1000


class NoisyTeacher:
    """``teacher(x + clip(noise N(0, 1), low, high))``.

    Args:
        teacher: the network. Later changes of its weights take effect.
        noise: standard deviation of the noise; 0 for no noise.
        low, high: bounds to which the noise is clipped.
        dropout: whether to apply Monte-Carlo dropout.
        batch_statistics: whether to normalise by batch statistics and to update the moving statistics, as in training.
    """

    def __init__(
        self,
        teacher: Network,
        *,
        noise: float,
        low: float,
        high: float,
        dropout: bool = False,
        batch_statistics: bool = False,
    ):
        self._noise, self._low, self._high = noise, low, high
        self._dropout, self._batch_statistics = dropout, batch_statistics
        self._network = catalogue.with_dropout(teacher) if dropout else teacher

    def __call__(self, slices, seeds, number: int = 0):
        """Maps (batch, *space, classes) of `slices`, random by `seeds` (batch,) int32 and the number of the pass."""
        seeds = seeds + number * 7919
        if self._noise > 0:
            noise = self._noise * sample_noise.normal(seeds, tuple(slices.shape[1:]), _NOISE_SALT, slices.dtype)
            slices = slices + ops.clip(noise, self._low, self._high)
        inputs = [slices, seeds] if self._dropout else slices
        return self._network(inputs, training=self._batch_statistics)
