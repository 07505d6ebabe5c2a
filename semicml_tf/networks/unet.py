"""The U-Net of the method: batch normalisation, dropout in the encoder, a channel per class; for slices and patches."""

from __future__ import annotations

from semicml_tf.networks.encoder_decoder import decode, encode
from semicml_tf.networks.network import Builder, Parts
from semicml_tf.networks.spec import NetworkSpec


def connect(slices, build: Builder, spec: NetworkSpec) -> Parts:
    """Connects the layers: channels double from level to level.

    Args:
        slices: symbolic, (batch, *space, channels).

    Raises:
        UserError: the specification has more levels than there are dropout rates.
    """
    return decode(encode(slices, build, spec), build, spec)
