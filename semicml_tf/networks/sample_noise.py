"""Random numbers that are a pure function of each sample's seed.

A stateful generator gives a sample other numbers when the batch is split over replicas or a run is
resumed. Here every number is the hash of (sample's seed, position, salt), so neither changes it.
"""

from __future__ import annotations

import math
import zlib

import keras
from keras import ops


def _mixed(x):
    """The 32-bit finaliser "lowbias32" (Wellons, hash-prospector): every input bit flips half the output's."""
    x = ops.bitwise_xor(x, ops.right_shift(x, ops.cast(16, "uint32")))
    x = x * ops.cast(0x7FEB352D, "uint32")
    x = ops.bitwise_xor(x, ops.right_shift(x, ops.cast(15, "uint32")))
    x = x * ops.cast(0x846CA68B, "uint32")
    return ops.bitwise_xor(x, ops.right_shift(x, ops.cast(16, "uint32")))


def seeds_for(purpose: str, seeds):
    """Each sample's seed for one purpose, (batch,) int32: no two purposes may draw the same numbers."""
    number = ops.cast(zlib.crc32(purpose.encode()), "uint32")
    return ops.cast(_mixed(_mixed(ops.cast(seeds, "uint32")) + number), "int32")


def uniform(seeds, shape: tuple[int, ...], salt: int):
    """Uniform numbers in [0, 1).

    Args:
        seeds: (batch,) int32, one for each sample.
        shape: of one sample.
        salt: tells apart the draws that one sample needs.

    Returns:
        (batch, *shape) float32.
    """
    positions = ops.cast(ops.arange(math.prod(shape), dtype="int32"), "uint32")
    keys = _mixed(ops.cast(seeds, "uint32") + ops.cast((salt * 0x9E3779B9) % 2**32, "uint32"))
    bits = _mixed(ops.expand_dims(keys, 1) + _mixed(positions + ops.cast(1, "uint32")))
    # The upper 24 bits: what a float32 holds exactly, so that 1.0 cannot come out.
    numbers = ops.cast(ops.cast(ops.right_shift(bits, ops.cast(8, "uint32")), "int32"), "float32") * 2.0**-24
    return ops.reshape(numbers, (-1, *shape))


def normal(seeds, shape: tuple[int, ...], salt: int, dtype: str = "float32"):
    """Standard normal numbers of `dtype`, by Box and Muller's transform; other arguments and shape as for `uniform`."""
    first, second = (ops.cast(uniform(seeds, shape, 2 * salt + number), dtype) for number in range(2))
    return ops.sqrt(-2.0 * ops.log(1.0 - first)) * ops.cos(2.0 * math.pi * second)


def symmetric_beta(seeds, alpha: float, salt: int):
    """Numbers from Beta(alpha, alpha), 0 < alpha <= 1, by Jöhnk's rejection; 0.5 if all of 16 tries are rejected.

    Args:
        seeds, salt: as for `uniform`.

    Returns:
        (batch,) float32. (A try is rejected with probability at most 1/2; with 0.05 at alpha = 0.2.)
    """
    tries = uniform(seeds, (16, 2), salt)
    # In logarithms: the powers underflow at small alpha.
    powers = ops.log(ops.maximum(tries, 2.0**-25)) / alpha
    total = ops.logsumexp(powers, axis=-1)
    accepted = ops.cast(total <= 0.0, "float32")
    first = accepted * ops.cast(ops.equal(ops.cumsum(accepted, axis=1), 1.0), "float32")
    drawn = ops.sum(first * ops.exp(powers[..., 0] - total), axis=1)
    return drawn + 0.5 * (1.0 - ops.sum(first, axis=1))


@keras.saving.register_keras_serializable(package="semicml_tf")
class SampleDropout(keras.layers.Layer):
    """Inverted dropout, on whenever it is called, with masks drawn from the samples' seeds.

    Called with ``[x (batch, ...), seeds (batch,) int32]``.
    """

    def __init__(self, rate: float, salt: int, **kwargs):
        super().__init__(**kwargs)
        self.rate, self.salt = rate, salt

    def call(self, inputs):
        x, seeds = inputs
        keep = ops.cast(uniform(seeds, tuple(x.shape[1:]), self.salt) >= self.rate, x.dtype)
        return x * keep / (1.0 - self.rate)

    def compute_output_shape(self, input_shape):
        return input_shape[0]

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "salt": self.salt}
