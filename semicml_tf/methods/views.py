"""Views of slices: strongly distorted, rotated, and mixed."""

from __future__ import annotations

from keras import ops

from semicml_tf.losses.maps import inner_axes, spread
from semicml_tf.networks.sample_noise import normal, seeds_for, uniform

# At strength 1, on normalised values: the colour jitter of SSL4MIS (0.8) without the hue, and noise.
_CONTRAST, _BRIGHTNESS, _NOISE = 0.8, 0.8, 0.2


def strong_view(slices, seeds, strength: float):
    """Distorts intensities only, so that labels stay valid.

    The contrast about the mean is multiplied by 1 ± 0.8, the brightness changes by ± 0.8. The noise has a standard
    deviation of up to 0.2. The blur is up to a mean of 3 x 3 pixels in each slice.

    Args:
        slices: (batch, *space, channels).
        seeds: (batch,) int32, the only source of randomness.
        strength: factor on all distortions; 0 changes nothing.

    Returns:
        The shape of `slices`.
    """
    strengths = ops.cast(uniform(seeds, (*(1,) * (len(slices.shape) - 2), 4), salt=0), slices.dtype)
    contrast, brightness, noise, blur = ops.split(strengths, 4, axis=-1)
    # The blur is 2-D, also in patches.
    planes = ops.reshape(slices, (-1, *slices.shape[-3:]))
    padded = ops.pad(planes, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="symmetric")
    smooth = ops.reshape(ops.average_pool(padded, 3, strides=1, padding="valid"), (-1, *slices.shape[1:]))
    x = slices + ops.minimum(strength * blur, 1.0) * (smooth - slices)
    mean = ops.mean(x, axis=inner_axes(x), keepdims=True)
    # At a strength above 1 / 0.8, the factor is limited to 0, and does not invert the contrast.
    x = mean + ops.maximum(1.0 + strength * _CONTRAST * (2.0 * contrast - 1.0), 0.0) * (x - mean)
    x = x + strength * _BRIGHTNESS * (2.0 * brightness - 1.0)
    standard_normal = normal(seeds, tuple(slices.shape[1:]), salt=1, dtype=slices.dtype)
    return x + strength * _NOISE * noise * standard_normal


def quarter_turns(seeds):
    """Random numbers of quarter turns, 1, 2 or 3 per sample; (batch,) int32."""
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
    """The partner of each slice in `mixed`; x: (batch, ...)."""
    return ops.roll(x, -(ops.shape(x)[0] // 2), axis=0)
