"""Windows cut from slices at random places: all modalities and the label in one geometry, no code interpolated."""

from __future__ import annotations

import math
from collections.abc import Container

import numpy as np
import tensorflow as tf

from semicml_tf.geometry.patch import Window, spatial_of
from semicml_tf.input.augmentation import Augmentation
from semicml_tf.input.intensity import varied
from semicml_tf.input.seeds import seed_for
from semicml_tf.input.spatial import cut
from semicml_tf.labels import PLAIN, LabelDefinition


def window_of(
    images,
    label,
    window: Window,
    augmentation: Augmentation,
    seed,
    labels: LabelDefinition = PLAIN,
    without_unit: Container[str] = (),
    focus=None,
):
    """Cuts one augmented window.

    All modalities and the label get the same geometry from one interpolation. Beyond the slice's border its mirror
    image continues, in the label, too: the border says nothing about where the lesion lies. Codes are never
    interpolated: each class is, and then cut where it covers half of a pixel, or more than the others.

    Args:
        images: by modality, (rows, columns, channels) float. A channel is a slice; all modalities have as many.
        label: (rows, columns) codes of `labels`, as `case_record.parse_in_graph` checks, or (rows, columns, channels)
            with the codes of each slice; or None.
        window: side of the window, or its sides, of which the last two are its rows and columns.
        seed: (2,) integers; the only source of randomness.
        labels: what is segmented.
        focus: (row, column) of a pixel of larger slices around which the window is cut; None: it is cut anywhere.
        without_unit: modalities whose values have no unit, as of MR. Only they get a bias field.

    Returns:
        ``images`` by modality (window, window, channels) float32; and ``{"label": (window, window, classes) float32
        0/1}``, with ``"valid"``: (window, window, 1) 0/1 if the definition ignores a value; {} without a label. A label
        of several slices keeps its third axis.

    Raises:
        ValueError: the label is of another type: soft labels cannot be cut at 0.5.
    """
    names = list(images)
    stack = [tf.cast(images[name], tf.float32) for name in names]
    if label is not None:
        of_classes = tf.stack(_planes(label, labels), axis=-1)
        stack.append(tf.reshape(of_classes, [*tf.unstack(tf.shape(label)[:2]), math.prod(of_classes.shape[2:])]))
    sides = spatial_of(window)[-2:]
    planes = cut(tf.concat(stack, axis=-1), sides, augmentation, seed, focus)
    result, channels = {}, stack[0].shape[-1]
    for index, name in enumerate(names):
        own, part = seed_for(f"intensities/{name}", seed), planes[..., index * channels :][..., :channels]
        result[name] = varied(part, augmentation, own, has_unit=name not in without_unit)
    if label is None:
        return result, {}
    return result, _cut_label(tf.reshape(planes[..., len(names) * channels :], [*sides, *of_classes.shape[2:]]), labels)


def _planes(codes, labels: LabelDefinition) -> list:
    """A float32 plane per class, and one of ignored pixels if there are any."""
    dtype = tf.as_dtype(codes.dtype)
    if dtype not in (tf.bool, tf.as_dtype(np.dtype(labels.dtype))):
        raise ValueError(f"expected a label of codes, of type {np.dtype(labels.dtype)}, got {dtype.name}")
    if labels.is_plain:
        return [tf.cast(codes, tf.float32)]
    numbers = range(len(labels.classes))
    wide = tf.cast(codes, tf.int32)
    if labels.exclusive:
        planes = [wide == number + 1 for number in numbers]
    else:
        planes = [tf.bitwise.bitwise_and(wide, 1 << number) > 0 for number in numbers]
    if labels.ignored_code is not None:
        planes.append(wide == labels.ignored_code)
    return [tf.cast(plane, tf.float32) for plane in planes]


def _cut_label(planes, labels: LabelDefinition) -> dict:
    """The interpolated planes as a label of 0 and 1, and the mask of annotated pixels."""
    count = len(labels.classes)
    classes, valid = planes[..., :count], None
    # Of the annotated part of a pixel; all of it if nothing is ignored.
    annotated = 1.0
    if labels.ignored_code is not None:
        annotated = 1.0 - planes[..., count:]
        valid = tf.cast(annotated > 0.5, tf.float32)
    if labels.exclusive:
        background = annotated - tf.reduce_sum(classes, axis=-1, keepdims=True)
        # The classes come first: of equals `argmax` takes the first.
        best = tf.argmax(tf.concat([classes, background], axis=-1), axis=-1)
        label = tf.one_hot(best, count + 1)[..., :count]
    else:
        label = tf.cast(classes >= 0.5 * annotated, tf.float32)
    return {"label": label} if valid is None else {"label": label * valid, "valid": valid}
