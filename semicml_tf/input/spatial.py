"""Geometry of augmentation: where each pixel of a window comes from. All modalities and the label share it."""

from __future__ import annotations

import tensorflow as tf

from semicml_tf.input.augmentation import Augmentation
from semicml_tf.input.seeds import seed_for

# Of TorchIO's RandomElasticDeformation: 7 control points per axis. Its largest displacement, 7.5 mm, is 4 % of the side
# of a window of 188 mm. Fields of 5 % would fold at times.
_CONTROL_POINTS, _LARGEST_DISPLACEMENT = 7, 0.04


def affine(size, sides: tuple[int, int], augmentation: Augmentation, seed, focus=None):
    """The 8 numbers of the map from the window's (column, row) to the slice's, as ImageProjectiveTransform takes them.

    Args:
        size: (rows, columns) of the slice.
        sides: (rows, columns) of the window in pixels.
        focus: (row, column) of a pixel of a larger slice; the window is cut around it. None: anywhere.
    """
    draws = tf.random.stateless_uniform([5], seed, minval=-1.0, maxval=1.0)
    # A slice smaller than the window lies anywhere inside it, or in its middle; a larger one is cut anywhere,
    # whatever the augmentation: its centre alone would hide the rest from training.
    lengths = tf.constant(sides, tf.float32)
    free = tf.cast(size, tf.float32) - lengths
    anywhere = tf.logical_or(augmentation.place, free > 0)
    start = free / 2.0 * (1.0 + tf.where(anywhere, draws[:2], 0.0))
    if focus is not None:
        # Within the middle half of the window, so that a rotation keeps it.
        around = tf.cast(focus, tf.float32) - (lengths - 1.0) / 2.0 + 0.25 * lengths * draws[:2]
        # A pixel in a corner of the window could leave it.
        margin = 0.25 * lengths if augmentation.rotation_degrees or augmentation.scale else 0.0 * lengths
        start = tf.where(free > 0, tf.clip_by_value(around, -margin, tf.maximum(free, 0.0) + margin), start)
    angle = draws[2] * (augmentation.rotation_degrees * 3.14159265 / 180.0)
    zoom = 1.0 / (1.0 + augmentation.scale * draws[3])
    mirror = tf.where(draws[4] < 0.0, -1.0, 1.0) if augmentation.flip else 1.0
    cosine, sine = zoom * tf.cos(angle), zoom * tf.sin(angle)
    centre_row, centre_column = ((side - 1) / 2.0 for side in sides)
    row0, column0 = start[0] + centre_row, start[1] + centre_column
    # column' = cos * mirror * (column - c) - sin * (row - c) + column0; row' likewise.
    ax, ay, bx, by = cosine * mirror, -sine, sine * mirror, cosine
    # For a square window the second terms are exactly 0.
    column_shift = (ax + ay) * centre_column + ay * (centre_row - centre_column)
    row_shift = (bx + by) * centre_row + bx * (centre_column - centre_row)
    return tf.stack([ax, ay, column0 - column_shift, bx, by, row0 - row_shift, 0.0, 0.0])


def cut(image, sides: tuple[int, int], augmentation: Augmentation, seed, focus=None):
    """A window of a stack of maps by one interpolation: bilinear, and mirrored beyond the slice's border.

    Args:
        image: (rows, columns, channels) float32.
        sides: (rows, columns) of the window in pixels.
        seed: (2,) int32.
        focus: see `affine`.

    Returns:
        (*sides, channels) float32.
    """
    transform = affine(tf.shape(image)[:2], sides, augmentation, seed_for("geometry", seed), focus)
    if not augmentation.elastic:
        return projected(image, transform, sides)
    draws = tf.random.stateless_uniform([2], seed_for("elastic", seed))
    amplitude = draws[1] * _LARGEST_DISPLACEMENT * tf.constant(sides, tf.float32)
    return tf.cond(
        draws[0] < augmentation.elastic,
        lambda: warped(image, transform, elastic(sides, amplitude, seed_for("control points", seed))),
        lambda: projected(image, transform, sides),
    )


def elastic(sides: tuple[int, int], amplitude, seed):
    """A smooth random displacement of each pixel of a window.

    The displacements of 7 x 7 control points are uniform in ± amplitude. Bicubic interpolation continues them to all
    pixels. TorchIO's RandomElasticDeformation has as many control points, and cubic B-splines.

    Args:
        amplitude: (2,), largest displacement of a control point along each axis, in pixels.

    Returns:
        (*sides, 2) float32: rows and columns, in pixels of the window.
    """
    shape = [1, _CONTROL_POINTS, _CONTROL_POINTS, 2]
    points = amplitude * tf.random.stateless_uniform(shape, seed, minval=-1.0, maxval=1.0)
    return tf.image.resize(points, sides, "bicubic")[0]


def warped(image, transform, displacement):
    """As `projected`, but of displaced pixels of the window.

    Args:
        image: (rows, columns, channels) float32.
        transform: of `affine`.
        displacement: (*sides, 2) rows and columns, in pixels of the window.

    Returns:
        (*sides, channels) float32.
    """
    down, along = (tf.range(side, dtype=tf.float32) for side in displacement.shape[:2])
    row, column = down[:, tf.newaxis] + displacement[..., 0], along[tf.newaxis] + displacement[..., 1]
    rows, columns = tf.shape(image)[0], tf.shape(image)[1]
    below, above, down = _neighbours(transform[3] * column + transform[4] * row + transform[5], rows)
    left, right, along = _neighbours(transform[0] * column + transform[1] * row + transform[2], columns)
    flat = tf.reshape(image, [-1, image.shape[-1]])

    def pixels(at_row, at_column):
        return tf.gather(flat, at_row * columns + at_column)

    down, along = down[..., tf.newaxis], along[..., tf.newaxis]
    first = (1.0 - along) * pixels(below, left) + along * pixels(below, right)
    second = (1.0 - along) * pixels(above, left) + along * pixels(above, right)
    return (1.0 - down) * first + down * second


def _neighbours(place, size):
    """The two pixels around each place on an axis, mirrored at its ends, and the fraction of the second one."""
    length = tf.cast(size, tf.float32)
    place = tf.math.floormod(place + 0.5, 2.0 * length)
    place = tf.clip_by_value(tf.minimum(place, 2.0 * length - place) - 0.5, 0.0, length - 1.0)
    low = tf.floor(place)
    number = tf.cast(low, tf.int32)
    return number, tf.minimum(number + 1, size - 1), place - low


def projected(image, transform, sides: tuple[int, int]):
    """The window that a transform of `affine` cuts; as `cut`."""
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=image[tf.newaxis],
        transforms=transform[tf.newaxis],
        output_shape=list(sides),
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )[0]
