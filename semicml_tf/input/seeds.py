"""Seeds of everything random in the input: each is made of the run's seed, numbers and a purpose."""

from __future__ import annotations

import zlib

import tensorflow as tf


def folded(seed: int, *numbers):
    """A seed made of the run's seed and further numbers, such as a step's; (2,) int32."""
    value = tf.constant([seed & 0x7FFFFFFF, seed >> 31], tf.int32)
    for number in numbers:
        value = tf.random.fold_in(value, tf.cast(number, tf.int32))
    return value


def seed_for(purpose: str, seed):
    """A sample's seed for one purpose, (2,) int32.

    No two purposes may draw the same numbers: were the slice and the brightness of CT drawn alike, slices
    with lesion would be darker, and a network would learn that instead of the lesion.
    """
    return tf.random.fold_in(tf.cast(seed, tf.int32), zlib.crc32(purpose.encode()) & 0x7FFFFFFF)
