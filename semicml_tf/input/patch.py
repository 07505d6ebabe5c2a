"""Patches of three dimensions cut from volumes: the geometry of windows in plane, the same for all slices."""

from __future__ import annotations

from collections.abc import Container

import tensorflow as tf

from semicml_tf.geometry.patch import Patch, mirrored
from semicml_tf.input.augmentation import Augmentation
from semicml_tf.input.seeds import seed_for
from semicml_tf.input.window import window_of
from semicml_tf.labels import LabelDefinition


def patch_of(
    images,
    label,
    patch: Patch,
    augmentation: Augmentation,
    seed,
    labels: LabelDefinition,
    without_unit: Container[str],
    focus,
):
    """Cuts one augmented patch around a voxel.

    All slices of a patch share the rotation, scale and deformation in plane, and the changes of the intensities. A
    volume smaller than the patch is mirrored at its borders. With `augmentation.flip_volume` a patch is also mirrored
    along slices and along rows.

    Args:
        images: by modality, (slices, rows, columns) float.
        label: the codes of `labels`, of that shape; or None.
        seed: (2,) integers; the only source of randomness.
        without_unit: see `window_of`.
        focus: (slice, row, column) of the voxel.

    Returns:
        ``images`` by modality (*patch.spatial, 1) float32; and ``{"label": (*patch.spatial, classes) float32 0/1}``,
        with ``"valid"`` (*patch.spatial, 1) if the definition ignores a value; {} without a label.
    """
    slices = tf.shape(next(iter(images.values())))[0]
    places = _slices(slices, patch.spatial[0], augmentation, focus[0], seed_for("slices", seed))

    def chosen(volume):
        """(rows, columns, slices) of the patch: slices take the place of channels."""
        cut = tf.transpose(tf.gather(volume, places), [1, 2, 0])
        return tf.ensure_shape(cut, [None, None, patch.spatial[0]])

    windows, target = window_of(
        {name: chosen(image) for name, image in images.items()},
        None if label is None else chosen(label),
        patch.window,
        augmentation,
        seed,
        labels,
        without_unit,
        focus=focus[1:],
    )
    mirror = tf.random.stateless_uniform([2], seed_for("flip volume", seed)) < 0.5

    def finished(values):
        """(slices, rows, columns, channels) of (rows, columns, slices, channels)."""
        values = tf.transpose(values, [2, 0, 1, 3])
        for axis in (0, 1) if augmentation.flip_volume else ():
            values = tf.where(mirror[axis], tf.reverse(values, [axis]), values)
        return values

    images = {name: finished(window[..., tf.newaxis]) for name, window in windows.items()}
    return images, {name: finished(values) for name, values in target.items()}


def _slices(count, depth: int, augmentation: Augmentation, focus, seed):
    """Numbers of the `depth` slices of a patch around a slice; beyond the ends of the volume it is mirrored."""
    draw = tf.random.stateless_uniform([], seed)
    free = count - depth
    # Within the middle half of the patch, as in plane.
    shift = tf.cast(tf.round((draw - 0.5) * 0.5 * depth), tf.int32)
    around = tf.clip_by_value(focus - depth // 2 + shift, 0, tf.maximum(free, 0))
    # A thin volume lies in the middle of the patch, or anywhere inside it.
    inside = tf.cast(tf.floor(draw * tf.cast(free - 1, tf.float32)), tf.int32) + 1 if augmentation.place else free // 2
    return mirrored(tf.range(depth) + tf.where(free > 0, around, inside), count)
