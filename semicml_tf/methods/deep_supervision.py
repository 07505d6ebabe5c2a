"""Deep supervision: the labelled loss also at the coarser scales of the decoder.

As in nnU-Net (Isensee et al., Nature Methods 2021), the weight of the loss halves from scale to scale, and the weights
sum to 1. The heads of the coarser scales exist only in training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from semicml_tf.errors import UserError
from semicml_tf.networks.auxiliary_outputs import coarse_maps

# In the names of maps, deep/MODALITY/NUMBER. Number 0 is the finest of the coarser scales.
DEEP = "deep"


def heads(student) -> keras.Model:
    """The heads of a network's coarser scales: ``parts.decoder`` -> probabilities (batch, *coarse space, classes).

    Raises:
        UserError: the network has no coarser scales.
    """
    if not student.parts.decoder:
        raise UserError(
            f"expected a network with coarser decoder features for --deep_supervision, got {student.spec.name} of "
            f"{student.spec.levels} levels",
            remedy="Choose another --network or a larger --window, or omit --deep_supervision",
        )
    return coarse_maps(student.parts.decoder, student.spec, student.last_seed, f"{student.name}_deep")


def with_heads(student, of_scales: keras.Model) -> keras.Model:
    """A model with the student's map under ``main``, and those of its coarser scales under ``deep0``, ``deep1``, ..."""
    maps = of_scales(list(student.parts.decoder))
    # For a single output, Keras returns no list.
    maps = maps if isinstance(maps, list) else [maps]
    coarser = {f"{DEEP}{number}": p for number, p in enumerate(maps)}
    return keras.Model(student.input, {"main": student.output, **coarser})


def named(name: str, outputs: Mapping[str, Any]) -> dict[str, Any]:
    """The maps of such a model by the names that a method uses; `name` is the modality."""
    count = sum(key.startswith(DEEP) for key in outputs)
    return {name: outputs["main"]} | {f"{DEEP}/{name}/{number}": outputs[f"{DEEP}{number}"] for number in range(count)}


def coarse_stream(stream: Mapping[str, Any], space: Sequence[int], *, exclusive: bool) -> dict[str, Any]:
    """A labelled stream with the label on a coarser grid. Labels are never interpolated.

    Args:
        stream: with ``label`` (batch, *space, classes) 0/1, and optionally ``valid`` (batch, *space, 1).
        space: the spatial shape of the coarser grid.
        exclusive: whether the classes exclude each other. A coarse pixel then has the label of its first pixel.
            Otherwise it belongs to a region if one of its pixels does.

    Returns:
        The stream with other ``label`` and ``valid``. Without foreground, a coarse pixel counts only if all of its
        pixels count.
    """
    label, valid = stream["label"], stream.get("valid")
    if exclusive:
        coarse = {name: _first(x, space) for name, x in (("label", label), ("valid", valid)) if x is not None}
        return {**stream, **coarse}
    coarse_label = _blocks(label, space, ops.max)
    if valid is None:
        return {**stream, "label": coarse_label}
    foreground = ops.cast(ops.max(coarse_label, axis=-1, keepdims=True), valid.dtype)
    return {**stream, "label": coarse_label, "valid": ops.maximum(foreground, _blocks(valid, space, ops.min))}


def _factors(x, space: Sequence[int]) -> list[int]:
    return [whole // size for whole, size in zip(x.shape[1:-1], space)]


def _first(x, space: Sequence[int]):
    """The first pixel of each block."""
    return x[(slice(None), *(slice(None, None, factor) for factor in _factors(x, space)))]


def _blocks(x, space: Sequence[int], reduce):
    """`reduce` over the pixels of each block."""
    pairs = [side for size, factor in zip(space, _factors(x, space)) for side in (size, factor)]
    axes = tuple(range(2, 2 + 2 * len(space), 2))
    return reduce(ops.reshape(x, (-1, *pairs, x.shape[-1])), axis=axes)


def weighted(losses: Sequence):
    """The sum of losses, the finest first, with weights that halve from scale to scale and sum to 1."""
    weights = [0.5**number for number in range(len(losses))]
    return sum(weight * loss for weight, loss in zip(weights, losses)) / sum(weights)
