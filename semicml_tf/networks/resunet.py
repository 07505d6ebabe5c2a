"""U-Net with a residual encoder, after nnU-Net's ResEnc presets (Isensee et al., MICCAI 2024, arXiv 2404.09556).

As there: a stem; residual blocks of the kind "BasicBlockD", more of them at coarser levels; strided convolutions; one
convolution per level in the decoder. Simplified: five levels at most; batch normalisation and ReLU as in the other
networks, in place of instance normalisation and leaky ReLU; dropout in each level's first block, for teachers.
"""

from __future__ import annotations

from keras import layers

from semicml_tf.networks.encoder_decoder import DROPOUT_RATES, check_levels, decode
from semicml_tf.networks.network import Builder, Parts
from semicml_tf.networks.spec import NetworkSpec

# Residual blocks of each level, top level first.
BLOCKS = (1, 3, 4, 6, 6)


def connect(slices, build: Builder, spec: NetworkSpec) -> Parts:
    """Connects the layers; see `networks.unet.connect`.

    Raises:
        UserError: the specification has 1 level, or more levels than `BLOCKS`.
    """
    check_levels(spec, least=2)
    x, encoder = build.conv(slices, spec.width, "stem", spec.kernels[0]), []
    for level, count in enumerate(BLOCKS[: spec.levels]):
        for number in range(count):
            steps = spec.steps[level - 1] if level and not number else (1,) * spec.dimensions
            rate = 0.0 if number else DROPOUT_RATES[level]
            x = _block(x, build, spec, level, steps, rate, f"encoder{level}_{number}")
        encoder.append(x)
    return decode(encoder, build, spec, convolutions="a")


def _block(x, build: Builder, spec: NetworkSpec, level: int, steps: tuple[int, ...], rate: float, name: str):
    """``ReLU(shortcut(x) + F(x))``, F two convolutions; the shortcut pools and changes channels only where needed."""
    channels, kernel = spec.channels[level], spec.kernels[level]
    inner = build.conv(x, channels, f"{name}a", kernel, strides=steps)
    inner = build.dropout(inner, rate, salt=level) if rate else inner
    inner = build.normed_conv(inner, channels, f"{name}b", kernel)
    shortcut = x if max(steps) == 1 else build.mean_pool(x, steps)
    if x.shape[-1] != channels:
        shortcut = build.normed_conv(shortcut, channels, f"{name}_shortcut", 1)
    return build.relu(layers.Add(dtype=build.policy)([inner, shortcut]), name)
