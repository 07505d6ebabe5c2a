"""Convolutions and a transformer, after MCTHNet (Liu et al., Medical Physics 2023, doi 10.1002/mp.16338).

As in the authors' code: encoder levels of two scales weighed by channel attention, a MobileViT block at the bottom, and
a decoder with twice the channels of a U-Net's. Simplified: one network per modality, where the article shares the
convolutions; features are enlarged by repetition, where the article interpolates; no bias before normalisation.
Dropout in the encoder, for teachers, is not the article's.
"""

from __future__ import annotations

from keras import layers, ops

from semicml_tf.errors import UserError
from semicml_tf.networks.encoder_decoder import DROPOUT_RATES, check_levels
from semicml_tf.networks.network import Builder, Parts
from semicml_tf.networks.spec import NetworkSpec

# Of the transformer. Tokens are the positions of one pixel of each 2 x 2 patch.
BLOCKS, HEADS, HEAD_CHANNELS = 4, 4, 8


def connect(slices, build: Builder, spec: NetworkSpec) -> Parts:
    """Connects the layers; see `networks.unet.connect`.

    Raises:
        UserError: the width is odd, or the coarsest features cannot be divided into 2 x 2 patches.
    """
    check_levels(spec, least=2)
    if spec.width % 2 or spec.window % (2 * spec.window_multiple):
        raise UserError(
            f"expected a --window that is a multiple of {2 * spec.window_multiple} and an even --width for hybrid, got "
            f"{spec.window} and {spec.width}",
            remedy="Correct --window or --width",
        )
    x, encoder = slices, []
    for level, channels in enumerate(spec.channels):
        x = build.pool(x, spec.steps[level - 1]) if level else x
        x = _two_scales(x, build, channels, level)
        encoder.append(x)
    x = layers.Add(dtype=build.policy)([x, _transformed(x, build, spec.channels[-1])])
    encoder[-1], decoder = x, []
    for level in reversed(range(spec.levels - 1)):
        planes = 2 * spec.channels[level]
        if decoder:
            x = build.conv(x, planes, f"decoder{level}a")
        x = build.repeat(build.conv(x, planes // 2, f"decoder{level}_up", 1), spec.steps[level])
        x = build.conv(layers.Concatenate(dtype=build.policy)([encoder[level], x]), planes, f"decoder{level}b")
        decoder.append(x)
    return Parts(build.probabilities(x, spec), tuple(encoder), tuple(reversed(decoder[:-1])))


def _two_scales(x, build: Builder, channels: int, level: int):
    """Features of 3 x 3 and 5 x 5 convolutions, weighed for each channel by a softmax over the two, and shuffled."""
    name, half = f"encoder{level}", channels // 2
    x = build.dropout(build.conv(x, half, f"{name}a"), DROPOUT_RATES[level], salt=level)
    scales = [build.conv(x, half, f"{name}_{kernel}x{kernel}", kernel) for kernel in (3, 5)]
    pooled = ops.mean(layers.Add(dtype=build.policy)(scales), axis=(1, 2), keepdims=True)
    squeezed = build.layer(layers.Dense, f"{name}_squeeze", max(half // 2, 8))(pooled)
    first, second = (build.layer(layers.Dense, f"{name}_scale{number}", half)(squeezed) for number in range(2))
    # The softmax over two numbers.
    share = ops.sigmoid(ops.cast(first, build.full) - ops.cast(second, build.full))
    weighed = [scale * ops.cast(part, scale.dtype) for scale, part in zip(scales, (share, 1.0 - share))]
    # A channel of the one scale beside the same of the other.
    shuffled = ops.reshape(ops.stack(weighed, axis=-1), (-1, *scales[0].shape[1:3], channels))
    return build.conv(shuffled, channels, f"{name}b")


def _transformed(x, build: Builder, channels: int):
    """The MobileViT block (Mehta and Rastegari, ICLR 2022): local convolutions, attention over all patches, fusion."""
    height, width, inner = x.shape[1] // 2, x.shape[2] // 2, channels // 2
    local = build.conv(build.conv(x, channels, "transformer_local"), inner, "transformer_in", 1)
    # (batch * 2 * 2, patches, channels): each pixel of the patches attends to the same pixel of all patches.
    tokens = ops.transpose(ops.reshape(local, (-1, height, 2, width, 2, inner)), (0, 2, 4, 1, 3, 5))
    tokens = ops.reshape(tokens, (-1, height * width, inner))
    for number in range(BLOCKS):
        tokens = _block(tokens, build, 4 * channels, f"transformer{number}")
    tokens = ops.transpose(ops.reshape(tokens, (-1, 2, 2, height, width, inner)), (0, 3, 1, 4, 2, 5))
    tokens = ops.cast(ops.reshape(tokens, (-1, 2 * height, 2 * width, inner)), x.dtype)
    out = build.conv(tokens, channels, "transformer_out", 1)
    return build.conv(layers.Concatenate(dtype=build.policy)([x, out]), channels, "transformer_fusion")


def _block(tokens, build: Builder, hidden: int, name: str):
    """Pre-norm attention and a perceptron; tokens: (rows, length, channels), of which rows do not see each other."""

    def normed(x, part):
        return build.layer(layers.LayerNormalization, f"{name}_{part}_norm", epsilon=1e-5, dtype=build.full)(x)

    length, channels = tokens.shape[1:]
    packed = build.layer(layers.Dense, f"{name}_qkv", 3 * HEADS * HEAD_CHANNELS, use_bias=False)(normed(tokens, "a"))
    packed = ops.transpose(ops.reshape(packed, (-1, length, 3, HEADS, HEAD_CHANNELS)), (2, 0, 3, 1, 4))
    query, key, value = packed[0], packed[1], packed[2]
    scores = ops.cast(ops.matmul(query, ops.swapaxes(key, -1, -2)), build.full) * HEAD_CHANNELS**-0.5
    seen = ops.matmul(ops.cast(ops.softmax(scores), value.dtype), value)
    seen = ops.reshape(ops.transpose(seen, (0, 2, 1, 3)), (-1, length, HEADS * HEAD_CHANNELS))
    tokens = layers.Add(dtype=build.policy)([tokens, build.layer(layers.Dense, f"{name}_out", channels)(seen)])
    inner = build.layer(layers.Dense, f"{name}_hidden", hidden, activation="silu")(normed(tokens, "b"))
    return layers.Add(dtype=build.policy)([tokens, build.layer(layers.Dense, f"{name}_mlp", channels)(inner)])
