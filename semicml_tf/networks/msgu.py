"""A light U-Net, after MSGU-Net (Cheng et al., Front. Neurorobot. 2024, doi 10.3389/fnbot.2024.1480055).

As in the article: each encoder level is an inception module of four scales, a Ghost module and efficient local
attention; attention gates and Ghost modules in the decoder. The article's code is not public, so that this is a
reconstruction from its abstract and a third party's description. Features are enlarged by repetition, where the article
interpolates. Dropout in the encoder, for teachers, is not the article's.
"""

from __future__ import annotations

import math

from keras import layers, ops

from semicml_tf.networks.encoder_decoder import DROPOUT_RATES, additive_gate, check_levels
from semicml_tf.networks.network import Builder, Parts
from semicml_tf.networks.spec import NetworkSpec


def connect(slices, build: Builder, spec: NetworkSpec) -> Parts:
    """Connects the layers; see `networks.unet.connect`."""
    check_levels(spec, least=2)
    x, encoder, decoder = slices, [], []
    for level, channels in enumerate(spec.channels):
        x = build.pool(x, spec.steps[level - 1]) if level else x
        x = build.dropout(_inception(x, build, channels, f"encoder{level}"), DROPOUT_RATES[level], salt=level)
        x = _local_attention(_ghost(x, build, channels, f"encoder{level}_ghost"), build, f"encoder{level}_local")
        encoder.append(x)
    for level in reversed(range(spec.levels - 1)):
        channels, steps = spec.channels[level], spec.steps[level]
        skip = additive_gate(encoder[level], x, build, steps, max(channels // 2, 1), f"gate{level}")
        x = layers.Concatenate(dtype=build.policy)([skip, build.repeat(x, steps)])
        x = _ghost(x, build, channels, f"decoder{level}")
        decoder.append(x)
    return Parts(build.probabilities(x, spec), tuple(encoder), tuple(reversed(decoder[:-1])))


def _inception(x, build: Builder, channels: int, name: str):
    """Four branches: 1 x 1; 3 x 3; two 3 x 3; 3 x 3 max pooling. Each has a quarter of the channels."""
    part = max(channels // 4, 1)
    three = build.conv(build.conv(x, part, f"{name}_three_in", 1), part, f"{name}_three")
    five = build.conv(build.conv(x, part, f"{name}_five_in", 1), part, f"{name}_five_a")
    pooled = layers.MaxPooling2D(3, strides=1, padding="same", dtype=build.policy)(x)
    branches = [
        build.conv(x, part, f"{name}_one", 1),
        three,
        build.conv(five, part, f"{name}_five_b"),
        build.conv(pooled, part, f"{name}_pooled", 1),
    ]
    return layers.Concatenate(dtype=build.policy)(branches)


def _ghost(x, build: Builder, channels: int, name: str):
    """The Ghost module (Han et al., CVPR 2020): half of the channels by 1 x 1, the others by 3 x 3 of each of these."""
    half = -(-channels // 2)
    primary = build.conv(x, half, f"{name}_primary", 1)
    cheap = build.layer(layers.DepthwiseConv2D, f"{name}_depthwise", 3, padding="same", use_bias=False)(primary)
    cheap = build.relu(build.norm(cheap, f"{name}_cheap_norm"), f"{name}_cheap")
    both = layers.Concatenate(dtype=build.policy)([primary, cheap])
    return both if 2 * half == channels else both[..., :channels]


def _local_attention(x, build: Builder, name: str):
    """Efficient local attention (Xu and Wan, arXiv 2403.01123): weights of rows and of columns from their means."""
    convolution = build.layer(layers.DepthwiseConv2D, f"{name}_conv", (7, 1), padding="same", use_bias=False)
    groups = math.gcd(16, x.shape[-1])
    norm = build.layer(layers.GroupNormalization, f"{name}_norm", groups=groups, epsilon=1e-5, dtype=build.full)

    def weights(means):
        """Of means (batch, length, 1, channels); rows and columns share the layers."""
        return ops.cast(ops.sigmoid(norm(convolution(means))), x.dtype)

    rows = weights(ops.mean(x, axis=2, keepdims=True))
    columns = weights(ops.transpose(ops.mean(x, axis=1, keepdims=True), (0, 2, 1, 3)))
    return x * rows * ops.transpose(columns, (0, 2, 1, 3))
