"""The 2-D U-Net of the method: five levels, batch normalisation, one sigmoid channel."""

from __future__ import annotations

import keras
from keras import layers

from semicml_tf.networks.batch_norm import BatchNormalization
from semicml_tf.networks.precision import POLICIES, full_precision
from semicml_tf.networks.sample_noise import SampleDropout

# Encoder dropout, top level first, between a block's two convolutions; on in the Monte-Carlo teacher alone.
DROPOUT_RATES = (0.05, 0.1, 0.2, 0.3, 0.5)


class Builder:
    """Layers with names and initial values that depend on the seed and their place alone.

    With `share`, the layers of that network are called again rather than made anew.
    """

    def __init__(self, seed: int, synchronized: bool, share: keras.Model | None, precision: str = "float32"):
        self.seed, self.synchronized, self.share, self.count = seed, synchronized, share, 0
        self.policy, self.full = POLICIES[precision], full_precision(precision)

    def layer(self, kind, name: str, *args, **kwargs):
        if self.share is not None:
            return self.share.get_layer(name)
        kwargs.setdefault("dtype", self.policy)
        if kind in (layers.Conv2D, layers.Conv2DTranspose):
            self.count += 1
            kwargs["kernel_initializer"] = keras.initializers.HeNormal(seed=self.seed * 1009 + self.count)
        return kind(*args, name=name, **kwargs)

    def conv(self, x, channels: int, name: str):
        # No bias: batch normalisation removes it, and Adam would turn its rounding noise into full steps.
        x = self.layer(layers.Conv2D, f"{name}_conv", channels, 3, padding="same", use_bias=False)(x)
        x = self.layer(BatchNormalization, f"{name}_norm", momentum=0.9, epsilon=1e-5, synchronized=self.synchronized)(
            x
        )
        return self.layer(layers.ReLU, f"{name}_relu")(x)

    def up(self, x, channels: int, name: str):
        return self.layer(layers.Conv2DTranspose, f"{name}_up", channels, 2, strides=2, padding="same")(x)

    def decode(self, skips, width: int):
        """The decoder, from the encoder's features (top level first) to probabilities."""
        x = skips[-1]
        for level in reversed(range(len(skips) - 1)):
            x = self.up(x, width * 2**level, f"decoder{level}")
            x = layers.Concatenate(dtype=self.policy)([skips[level], x])
            x = self.conv(x, width * 2**level, f"decoder{level}a")
            x = self.conv(x, width * 2**level, f"decoder{level}b")
        # float32 also for features in half precision: losses and clients rely on it.
        return self.layer(layers.Conv2D, "probabilities", 1, 1, activation="sigmoid", dtype=self.full)(x)


def levels_of(network: keras.Model) -> range:
    """Numbers of a U-Net's levels, top level first."""
    names = {layer.name for layer in network.layers}
    return range(sum(f"encoder{level}a_conv" in names for level in range(len(DROPOUT_RATES))))


def unet(
    window: int,
    width: int,
    *,
    name: str,
    seed: int = 0,
    synchronized: bool = False,
    dropout_on: keras.Model | None = None,
    levels: int = len(DROPOUT_RATES),
    precision: str = "float32",
) -> keras.Model:
    """Builds a network.

    Args:
        window: side in pixels of the square slices; every level but the last halves them.
        width: channels of the first level; doubled at each of the four levels below.
        name: of the model: its modality.
        seed: of the initial weights.
        synchronized: batch statistics over all replicas rather than each one's own.
        dropout_on: a network built before; the result then shares its weights and has Monte-Carlo
            dropout, on at every call, with a second input: the samples' seeds (batch,) int32.
        levels: fewer than the method's five, where that has to be quick.
        precision: of the features, one of `POLICIES`. Variables and probabilities are float32 in half precision, too.
            With `dropout_on`, float64 follows that network.

    Returns:
        A model (batch, window, window, 1) float32 -> foreground probabilities of the same shape.
    """
    dropout = dropout_on is not None
    levels = len(levels_of(dropout_on)) if dropout else levels
    if window % 2 ** (levels - 1):
        raise ValueError(f"expected a window that is a multiple of {2 ** (levels - 1)}, got {window}")
    if dropout and full_precision(dropout_on.output.dtype) == "float64":
        precision = "float64"
    build = Builder(seed, synchronized, dropout_on, precision)
    inputs = keras.Input((window, window, 1), dtype=build.full, name="slices")
    seeds = keras.Input((), dtype="int32", name="seeds") if dropout else None
    x, skips = inputs, []
    for level, rate in enumerate(DROPOUT_RATES[:levels]):
        if level:
            x = layers.MaxPooling2D(dtype=build.policy)(x)
        x = build.conv(x, width * 2**level, f"encoder{level}a")
        if dropout:
            x = SampleDropout(rate, salt=level, dtype=build.policy)([x, seeds])
        x = build.conv(x, width * 2**level, f"encoder{level}b")
        skips.append(x)
    outputs = build.decode(skips, width)
    return keras.Model([inputs, seeds] if dropout else inputs, outputs, name=name)
