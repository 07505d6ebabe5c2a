"""U-Net with additive attention gates on its skip connections (Oktay et al., MIDL 2018, arXiv 1804.03999).

As there: a gate computes coefficients in (0, 1) on the coarser grid, from the encoder's features and the decoder's
coarser features, and multiplies the encoder's features by them. The top level has no gate. Simplified: coefficients are
enlarged by repetition, where the article interpolates; no convolution follows the gate. Deep supervision, which the
article adds, is an option of training.
"""

from __future__ import annotations

from semicml_tf.networks.encoder_decoder import additive_gate, check_levels, decode, encode
from semicml_tf.networks.network import Builder, Parts
from semicml_tf.networks.spec import NetworkSpec


def connect(slices, build: Builder, spec: NetworkSpec) -> Parts:
    """Connects the layers; see `networks.unet.connect`.

    Raises:
        UserError: the specification has too few levels for a gate, or too many.
    """
    check_levels(spec, least=3)

    def gated(level, features, coarser):
        if level == 0:
            return features
        inner = max(spec.channels[level] // 2, 1)
        return additive_gate(features, coarser, build, spec.steps[level], inner, f"gate{level}")

    return decode(encode(slices, build, spec), build, spec, skip=gated)
