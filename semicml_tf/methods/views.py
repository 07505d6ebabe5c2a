"""Views of slices: strongly distorted, rotated, and mixed."""

from __future__ import annotations

from keras import ops

from semicml_tf.losses.maps import inner_axes, spread
from semicml_tf.networks.sample_noise import normal, seeds_for, uniform

# At strength 1, on normalised values: the SSL4MIS collection's colour jitter of 0.8, less its hue; and noise.
_CONTRAST, _BRIGHTNESS, _NOISE = 0.8, 0.8, 0.2


def strong_view(slices, seeds, strength: float):
    """Distorts intensities only, so that labels stay valid.

    Contrast about the slice's mean times 1 ± 0.8, brightness ± 0.8, noise up to 0.2, blur by up to all of 3x3
    pixels of a slice.

    Args:
        slices: (batch, *space, channels).
        seeds: (batch,) int32, the only source of randomness.
        strength: on all of them; 0 changes nothing.

    Returns:
        The shape of `slices`.
    """
    strengths = ops.cast(uniform(seeds, (*(1,) * (len(slices.shape) - 2), 4), salt=0), slices.dtype)
    contrast, brightness, noise, blur = ops.split(strengths, 4, axis=-1)
    # Slice by slice.
    planes = ops.reshape(slices, (-1, *slices.shape[-3:]))
    padded = ops.pad(planes, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="symmetric")
    smooth = ops.reshape(ops.average_pool(padded, 3, strides=1, padding="valid"), (-1, *slices.shape[1:]))
    x = slices + ops.minimum(strength * blur, 1.0) * (smooth - slices)
    mean = ops.mean(x, axis=inner_axes(x), keepdims=True)
    # At a strength above 1 / 0.8 a factor may reach 0 but not turn dark into bright.
    x = mean + ops.maximum(1.0 + strength * _CONTRAST * (2.0 * contrast - 1.0), 0.0) * (x - mean)
    x = x + strength * _BRIGHTNESS * (2.0 * brightness - 1.0)
    drawn = normal(seeds, tuple(slices.shape[1:]), salt=1, dtype=slices.dtype)
    return x + strength * _NOISE * noise * drawn


def quarter_turns(seeds):
    """1, 2 or 3 for each sample; (batch,) int32."""
    return 1 + ops.cast(3.0 * uniform(seeds_for("rotation", seeds), (), salt=0), "int32")


def rotated(x, turns):
    """Square slices turned counter-clockwise by quarter turns (batch,); x: (batch, ..., side, side, channels)."""
    rows = len(x.shape) - 3
    choices = ops.stack([ops.rot90(x, k, axes=(rows, rows + 1)) for k in range(4)], axis=1)
    chosen = ops.one_hot(ops.mod(turns, 4), 4, dtype=x.dtype)
    return ops.sum(choices * ops.reshape(chosen, (-1, 4, *(1,) * (len(x.shape) - 1))), axis=1)


def mixed(x, share):
    """``(1 - share) x_i + share x_j``, slice j half a batch after i; x: (batch, *space, channels), share: (batch,)."""
    share = spread(share, x)
    return (1.0 - share) * x + share * partners(x)


def partners(x):
    """The slice that `mixed` mixes into each slice; x: (batch, ...)."""
    return ops.roll(x, -(ops.shape(x)[0] // 2), axis=0)
