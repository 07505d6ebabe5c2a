"""The U-Net of the method: batch normalisation, dropout in the encoder, a channel per class; for slices and patches."""

from __future__ import annotations

from keras import layers

from semicml_tf.errors import UserError
from semicml_tf.networks.network import Builder, Parts
from semicml_tf.networks.spec import NetworkSpec

# Encoder dropout, top level first, between a block's two convolutions; on in the Monte-Carlo teacher alone.
DROPOUT_RATES = (0.05, 0.1, 0.2, 0.3, 0.5)


def connect(slices, build: Builder, spec: NetworkSpec) -> Parts:
    """Connects the layers: channels double from level to level.

    Args:
        slices: symbolic, (batch, *space, channels).

    Raises:
        UserError: the specification has more levels than there are dropout rates.
    """
    if spec.levels > len(DROPOUT_RATES):
        raise UserError(f"expected a U-Net of at most {len(DROPOUT_RATES)} levels, got {spec.levels}")
    channels, steps, kernels = spec.channels, spec.steps, spec.kernels
    x, encoder, decoder = slices, [], []
    for level, rate in enumerate(DROPOUT_RATES[: spec.levels]):
        if level:
            x = build.pool(x, steps[level - 1])
        x = build.conv(x, channels[level], f"encoder{level}a", kernels[level])
        x = build.dropout(x, rate, salt=level)
        x = build.conv(x, channels[level], f"encoder{level}b", kernels[level])
        encoder.append(x)
    for level in reversed(range(spec.levels - 1)):
        x = build.enlarge(x, channels[level], steps[level], f"decoder{level}_up")
        x = layers.Concatenate(dtype=build.policy)([encoder[level], x])
        x = build.conv(x, channels[level], f"decoder{level}a", kernels[level])
        x = build.conv(x, channels[level], f"decoder{level}b", kernels[level])
        decoder.append(x)
    # Between the bottom, which is no decoder's, and the top, which has the window's size.
    coarser = reversed(decoder[:-1])
    return Parts(build.probabilities(x, spec), tuple(encoder), tuple(coarser))
