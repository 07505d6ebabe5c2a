"""CutMix: a box of one patient's window pasted into another patient's window of the same batch."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from semicml_tf.input.seeds import seed_for


def cutmix(batch: Mapping[str, Any], probability: float, seed) -> dict[str, Any]:
    """Pastes a box of another window, with its label, into windows of a stream's batch.

    Yun et al., "CutMix", ICCV 2019: the box's fraction of the window is drawn from Beta(1, 1). Here the whole box lies
    in the window, at random. The other window is of another patient with the same modalities: a pasted box brings no
    modality that a patient lacks, and hides none. A window without such a partner in its batch stays as it is.

    Args:
        batch: of `window_stream`. All images, the label and the mask of annotated pixels get the same box.
        probability: of each window.
        seed: (2,) int32, of this batch.

    Returns:
        The structure of `batch`. The patient of a mixed window is the patient of more than half of its pixels.
    """
    patients = batch["patient"]
    count = tf.shape(patients)[0]
    partners = patients[:, tf.newaxis] != patients
    for present in batch.get("present", {}).values():
        partners &= present[:, tf.newaxis] == present
    chance = tf.random.stateless_uniform(tf.stack([count, count]), seed_for("partner", seed))
    partner = tf.argmax(tf.where(partners, chance, -1.0), axis=1)
    draws = tf.random.stateless_uniform(tf.stack([2, count]), seed_for("box", seed))
    mixed = tf.reduce_any(partners, axis=1) & (draws[0] < probability)
    sides = next(iter(batch["image"].values())).shape[1:-1]
    inside, fraction = _boxes(tf.where(mixed, draws[1], 0.0), sides, seed_for("place", seed))

    def pasted(values):
        return tf.where(inside, tf.gather(values, partner), values)

    parts = {name: tf.nest.map_structure(pasted, batch[name]) for name in ("image", "label", "valid") if name in batch}
    owner = tf.where(fraction > 0.5, tf.gather(patients, partner), patients)
    return {**batch, **parts, "patient": owner}


def _boxes(fraction, sides, seed):
    """Boxes of the shape of the window, of about the given fractions of the window, at random places.

    Args:
        fraction: (batch,).
        sides: of the window, in pixels.

    Returns:
        (batch, *sides, 1) bool; and (batch,), the fractions in whole pixels.
    """
    draws = tf.random.stateless_uniform(tf.stack([len(sides), tf.shape(fraction)[0]]), seed)
    shares, masks = [], []
    for axis, side in enumerate(sides):
        length = tf.round(fraction ** (1.0 / len(sides)) * side)
        start = tf.floor(draws[axis] * (side - length + 1.0))
        places = tf.range(side, dtype=tf.float32)
        mask = (places >= start[:, tf.newaxis]) & (places < (start + length)[:, tf.newaxis])
        shape = [-1] + [1] * (len(sides) + 1)
        shape[axis + 1] = side
        masks.append(tf.reshape(mask, shape))
        shares.append(length / side)
    return functools.reduce(tf.logical_and, masks), functools.reduce(tf.multiply, shares)
