"""Geometry of augmentation: where each pixel of a window comes from. All modalities and the label share it."""

from __future__ import annotations

import tensorflow as tf

from semicml_tf.input.augmentation import Augmentation
from semicml_tf.input.seeds import seed_for

# Of TorchIO's RandomElasticDeformation: 7 control points per axis. Its largest displacement, 7.5 mm, is 4 % of the side
# of a window of 188 mm. Fields of 5 % would fold at times.
_CONTROL_POINTS, _LARGEST_DISPLACEMENT = 7, 0.04


def affine(size, window: int, augmentation: Augmentation, seed):
    """The 8 numbers of the map from the window's (column, row) to the slice's, as ImageProjectiveTransform takes them.

    Args:
        size: (rows, columns) of the slice.
        window: side of the window in pixels.
    """
    draws = tf.random.stateless_uniform([5], seed, minval=-1.0, maxval=1.0)
    # A slice smaller than the window lies anywhere inside it, or in its middle; a larger one is cut anywhere,
    # whatever the augmentation: its centre alone would hide the rest from training.
    free = tf.cast(size, tf.float32) - window
    anywhere = tf.logical_or(augmentation.place, free > 0)
    start = free / 2.0 * (1.0 + tf.where(anywhere, draws[:2], 0.0))
    angle = draws[2] * (augmentation.rotation_degrees * 3.14159265 / 180.0)
    zoom = 1.0 / (1.0 + augmentation.scale * draws[3])
    mirror = tf.where(draws[4] < 0.0, -1.0, 1.0) if augmentation.flip else 1.0
    cosine, sine = zoom * tf.cos(angle), zoom * tf.sin(angle)
    centre = (window - 1) / 2.0
    row0, column0 = start[0] + centre, start[1] + centre
    # column' = cos * mirror * (column - c) - sin * (row - c) + column0; row' likewise.
    ax, ay, bx, by = cosine * mirror, -sine, sine * mirror, cosine
    return tf.stack([ax, ay, column0 - (ax + ay) * centre, bx, by, row0 - (bx + by) * centre, 0.0, 0.0])


def cut(image, window: int, augmentation: Augmentation, seed):
    """A window of a stack of maps by one interpolation: bilinear, and mirrored beyond the slice's border.

    Args:
        image: (rows, columns, channels) float32.
        window: side of the window in pixels.
        seed: (2,) int32.

    Returns:
        (window, window, channels) float32.
    """
    transform = affine(tf.shape(image)[:2], window, augmentation, seed_for("geometry", seed))
    if not augmentation.elastic:
        return projected(image, transform, window)
    draws = tf.random.stateless_uniform([2], seed_for("elastic", seed))
    amplitude = draws[1] * _LARGEST_DISPLACEMENT * window
    return tf.cond(
        draws[0] < augmentation.elastic,
        lambda: warped(image, transform, elastic(window, amplitude, seed_for("control points", seed))),
        lambda: projected(image, transform, window),
    )


def elastic(window: int, amplitude, seed):
    """A smooth random displacement of each pixel of a window.

    The displacements of 7 x 7 control points are uniform in ± amplitude. Bicubic interpolation continues them to all
    pixels. TorchIO's RandomElasticDeformation has as many control points, and cubic B-splines.

    Args:
        amplitude: largest displacement of a control point along each axis, in pixels.

    Returns:
        (window, window, 2) float32: rows and columns, in pixels of the window.
    """
    shape = [1, _CONTROL_POINTS, _CONTROL_POINTS, 2]
    points = amplitude * tf.random.stateless_uniform(shape, seed, minval=-1.0, maxval=1.0)
    return tf.image.resize(points, [window, window], "bicubic")[0]


def warped(image, transform, displacement):
    """As `projected`, but of displaced pixels of the window.

    Args:
        image: (rows, columns, channels) float32.
        transform: of `affine`.
        displacement: (window, window, 2) rows and columns, in pixels of the window.

    Returns:
        (window, window, channels) float32.
    """
    window = displacement.shape[0]
    steps = tf.range(window, dtype=tf.float32)
    row, column = steps[:, tf.newaxis] + displacement[..., 0], steps[tf.newaxis] + displacement[..., 1]
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


def projected(image, transform, window: int):
    """The window that a transform of `affine` cuts; as `cut`."""
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=image[tf.newaxis],
        transforms=transform[tf.newaxis],
        output_shape=[window, window],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )[0]
