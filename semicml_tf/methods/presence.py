"""Patients with missing modalities: the slices of a stream that count in a term.

A stream has ``present``, {modality: (batch,) 0/1}, if one of its cases lacks a modality. Without ``present``, all
slices count, by the same operations as for complete patients.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from keras import ops

from semicml_tf.losses.maps import spread

# The ``present`` of a stream.
Present = Mapping[str, Any] | None


def slices_with(present: Present, *modalities: str):
    """1.0 for slices that have all of `modalities`, else 0.0: (batch,); None if `present` is None."""
    return None if present is None else functools.reduce(ops.multiply, [present[name] for name in modalities])


def slices_with_any(present: Present, modalities: Sequence[str]):
    """1.0 for slices that have one of `modalities`, else 0.0: (batch,); None if `present` is None."""
    return None if present is None else functools.reduce(ops.maximum, [present[name] for name in modalities])


def counted(values, slices):
    """Scales values so that their mean over the batch is the mean over the slices that count.

    Args:
        values: (batch,).
        slices: (batch,) 0/1; None: all slices count.

    Returns:
        (batch,): `values` itself if all slices count; 0 if no slice counts.
    """
    if slices is None:
        return values
    slices = ops.cast(slices, values.dtype)
    return values * slices * (ops.cast(ops.shape(slices)[0], values.dtype) / ops.maximum(ops.sum(slices), 1.0))


def pixels_of(slices, maps, valid=None):
    """The pixels that count: those of the slices that count, and where `valid` is 1.

    Args:
        slices: (batch,) 0/1; None: all slices count.
        maps: (batch, *space, classes).
        valid: (batch, *space, 1) 0/1, or weights in [0, 1]; None: all pixels.

    Returns:
        (batch, *space, 1), as `valid`; `valid` itself if all slices count.
    """
    if slices is None:
        return valid
    pixels = ops.ones_like(maps[..., :1]) * spread(slices, maps)
    return pixels if valid is None else pixels * ops.cast(valid, maps.dtype)
