"""U-Net with additive attention gates on its skip connections (Oktay et al., MIDL 2018, arXiv 1804.03999).

As there: a gate computes coefficients in (0, 1) on the coarser grid, from the encoder's features and the decoder's
coarser features, and multiplies the encoder's features by them. The top level has no gate. Simplified: coefficients are
enlarged by repetition, where the article interpolates; no convolution follows the gate. Deep supervision, which the
article adds, is an option of training.
"""

from __future__ import annotations

from keras import layers

from semicml_tf.networks.encoder_decoder import check_levels, decode, encode
from semicml_tf.networks.network import Builder, Parts
from semicml_tf.networks.spec import NetworkSpec


def connect(slices, build: Builder, spec: NetworkSpec) -> Parts:
    """Connects the layers; see `networks.unet.connect`.

    Raises:
        UserError: the specification has too few levels for a gate, or too many.
    """
    check_levels(spec, least=3)

    def gated(level, features, coarser):
        """``x * up(sigmoid(psi(ReLU(theta(x) + phi(g)))))``: x the encoder's features, g the decoder's."""
        if level == 0:
            return features
        steps, inner, name = spec.steps[level], max(spec.channels[level] // 2, 1), f"gate{level}"
        theta = build.convolution(features, inner, steps, f"{name}_theta", strides=steps, use_bias=False)
        phi = build.convolution(coarser, inner, 1, f"{name}_phi")
        joined = build.relu(layers.Add(dtype=build.policy)([theta, phi]), name)
        coefficients = build.convolution(joined, 1, 1, f"{name}_psi", activation="sigmoid")
        return layers.Multiply(dtype=build.policy)([features, build.repeat(coefficients, steps)])

    return decode(encode(slices, build, spec), build, spec, skip=gated)
