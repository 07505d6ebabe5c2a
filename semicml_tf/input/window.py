"""Windows cut from slices at random places, and augmentation shared by all modalities."""

from __future__ import annotations

import dataclasses
import zlib

import numpy as np
import tensorflow as tf

from semicml_tf.labels import PLAIN, LabelDefinition


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How strongly slices vary. Everything at 0 is off.

    Attributes:
        place: slices smaller than the window lie at random in it; otherwise in its middle. (Larger slices are
            always cut at random.)
        flip: mirrored left-right in half of the samples.
        rotation_degrees: rotated by up to this much either way.
        scale: enlarged or shrunk by up to this fraction.
        gain, offset: each modality's intensities are multiplied by up to 1 ± gain and shifted by up to
            ± offset (of normalised values), independently.
        noise: standard deviation, at most, of Gaussian noise on normalised values, likewise.
    """

    place: bool = True
    flip: bool = True
    rotation_degrees: float = 15.0
    scale: float = 0.2
    gain: float = 0.1
    offset: float = 0.1
    noise: float = 0.05


NONE = Augmentation(place=False, flip=False, rotation_degrees=0.0, scale=0.0, gain=0.0, offset=0.0, noise=0.0)
STANDARD = Augmentation()
BY_NAME = {"none": NONE, "standard": STANDARD}


def seed_for(purpose: str, seed):
    """A sample's seed for one purpose, (2,) int32.

    No two purposes may draw the same numbers: were the slice and the brightness of CT drawn alike, slices
    with lesion would be darker, and a network would learn that instead of the lesion.
    """
    return tf.random.fold_in(tf.cast(seed, tf.int32), zlib.crc32(purpose.encode()) & 0x7FFFFFFF)


def _transform(size, window: int, how: Augmentation, seed):
    """The 8 numbers of the map from the window's (column, row) to the slice's."""
    draws = tf.random.stateless_uniform([5], seed, minval=-1.0, maxval=1.0)
    # A slice smaller than the window lies anywhere inside it, or in its middle; a larger one is cut anywhere,
    # whatever the augmentation: its centre alone would hide the rest from training.
    free = tf.cast(size, tf.float32) - window
    anywhere = tf.logical_or(how.place, free > 0)
    start = free / 2.0 * (1.0 + tf.where(anywhere, draws[:2], 0.0))
    angle = draws[2] * (how.rotation_degrees * 3.14159265 / 180.0)
    zoom = 1.0 / (1.0 + how.scale * draws[3])
    mirror = tf.where(draws[4] < 0.0, -1.0, 1.0) if how.flip else 1.0
    cosine, sine = zoom * tf.cos(angle), zoom * tf.sin(angle)
    centre = (window - 1) / 2.0
    row0, column0 = start[0] + centre, start[1] + centre
    # column' = cos * mirror * (column - c) - sin * (row - c) + column0; row' likewise.
    ax, ay, bx, by = cosine * mirror, -sine, sine * mirror, cosine
    return tf.stack([ax, ay, column0 - (ax + ay) * centre, bx, by, row0 - (bx + by) * centre, 0.0, 0.0])


def window_of(images, label, window: int, how: Augmentation, seed, labels: LabelDefinition = PLAIN):
    """Cuts one augmented window.

    All modalities and the label get the same geometry from one interpolation. Beyond the slice's border its mirror
    image continues, in the label, too: the border says nothing about where the lesion lies. Codes are never
    interpolated: each class is, and then cut where it covers half of a pixel, or more than the others.

    Args:
        images: by modality, (rows, columns) float.
        label: (rows, columns) codes of `labels`, as `case_record.parse_in_graph` checks; or None.
        window: side of the window.
        seed: (2,) integers; the only source of randomness.
        labels: what is segmented.

    Returns:
        ``images`` by modality (window, window, 1) float32; and ``{"label": (window, window, classes) float32 0/1}``,
        with ``"valid"``: (window, window, 1) 0/1 if the definition ignores a value; {} without a label.

    Raises:
        ValueError: the label is of another type: soft labels cannot be cut at 0.5.
    """
    names = list(images)
    stack = [tf.cast(images[name], tf.float32) for name in names]
    if label is not None:
        stack += _planes(label, labels)
    stack = tf.stack(stack, axis=-1)
    cut = tf.raw_ops.ImageProjectiveTransformV3(
        images=stack[tf.newaxis],
        transforms=_transform(tf.shape(stack)[:2], window, how, seed_for("geometry", seed))[tf.newaxis],
        output_shape=[window, window],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )[0]
    result = {}
    for index, name in enumerate(names):
        result[name] = _intensities(cut[..., index : index + 1], how, seed_for(f"intensities/{name}", seed))
    return result, {} if label is None else _cut_label(cut[..., len(names) :], labels)


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


def _intensities(image, how: Augmentation, seed):
    if not (how.gain or how.offset or how.noise):
        return image
    draws = tf.random.stateless_uniform([3], seed, minval=-1.0, maxval=1.0)
    noise = tf.random.stateless_normal(tf.shape(image), seed_for("noise", seed))
    return image * (1.0 + how.gain * draws[0]) + how.offset * draws[1] + how.noise * tf.abs(draws[2]) * noise
