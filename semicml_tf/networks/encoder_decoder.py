"""The encoder and the decoder of U-Nets, which several networks share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from keras import layers

from semicml_tf.errors import UserError
from semicml_tf.networks.network import Builder, Parts
from semicml_tf.networks.spec import NetworkSpec

# Encoder dropout, top level first, between a block's two convolutions; on in the Monte-Carlo teacher alone.
DROPOUT_RATES = (0.05, 0.1, 0.2, 0.3, 0.5)


def check_levels(spec: NetworkSpec, least: int = 1) -> None:
    """Raises UserError on a specification with fewer levels, or with more levels than there are dropout rates."""
    if not least <= spec.levels <= len(DROPOUT_RATES):
        raise UserError(f"expected a {spec.name} of {least} to {len(DROPOUT_RATES)} levels, got {spec.levels}")


def encode(slices, build: Builder, spec: NetworkSpec) -> list:
    """Two convolutions per level, and max pooling between the levels.

    Returns:
        The features of each level, larger ones first.
    """
    check_levels(spec)
    x, encoder = slices, []
    for level, (channels, kernel) in enumerate(zip(spec.channels, spec.kernels)):
        if level:
            x = build.pool(x, spec.steps[level - 1])
        x = build.conv(x, channels, f"encoder{level}a", kernel)
        x = build.dropout(x, DROPOUT_RATES[level], salt=level)
        x = build.conv(x, channels, f"encoder{level}b", kernel)
        encoder.append(x)
    return encoder


def decode(
    encoder: Sequence,
    build: Builder,
    spec: NetworkSpec,
    *,
    convolutions: str = "ab",
    skip: Callable = lambda level, features, coarser: features,
) -> Parts:
    """From the coarsest features to the probabilities, joined at each level by the encoder's features.

    Args:
        encoder: features of each level, larger ones first.
        convolutions: their names within a level.
        skip: gives what is joined at a level: (level, the encoder's features, the decoder's coarser features).
    """
    x, decoder = encoder[-1], []
    for level in reversed(range(spec.levels - 1)):
        channels = spec.channels[level]
        joined = skip(level, encoder[level], x)
        x = build.enlarge(x, channels, spec.steps[level], f"decoder{level}_up")
        x = layers.Concatenate(dtype=build.policy)([joined, x])
        for name in convolutions:
            x = build.conv(x, channels, f"decoder{level}{name}", spec.kernels[level])
        decoder.append(x)
    # Between the bottom, which is no decoder's, and the top, which has the window's size.
    coarser = reversed(decoder[:-1])
    return Parts(build.probabilities(x, spec), tuple(encoder), tuple(coarser))


def additive_gate(features, coarser, build: Builder, steps: tuple[int, ...], inner: int, name: str):
    """``x * up(sigmoid(psi(ReLU(theta(x) + phi(g)))))``, an attention gate (Oktay et al. 2018) on the coarser grid.

    Args:
        features: x, from the encoder.
        coarser: g, from the decoder; x is `steps` times as large along each axis.
        inner: channels of theta and phi.
    """
    theta = build.convolution(features, inner, steps, f"{name}_theta", strides=steps, use_bias=False)
    phi = build.convolution(coarser, inner, 1, f"{name}_phi")
    joined = build.relu(layers.Add(dtype=build.policy)([theta, phi]), name)
    coefficients = build.convolution(joined, 1, 1, f"{name}_psi", activation="sigmoid")
    return layers.Multiply(dtype=build.policy)([features, build.repeat(coefficients, steps)])
