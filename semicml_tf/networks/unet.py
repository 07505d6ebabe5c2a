"""The 2-D U-Net of the method: five levels, batch normalisation, one sigmoid channel."""

from __future__ import annotations

import keras
from keras import layers

from semicml_tf.networks.sample_noise import SampleDropout

# Encoder dropout, top level first, between a block's two convolutions; on in the Monte-Carlo teacher alone.
DROPOUT_RATES = (0.05, 0.1, 0.2, 0.3, 0.5)
# Every level but the last halves the slice.
SIZE_MULTIPLE = 2 ** (len(DROPOUT_RATES) - 1)


class _Builder:
    """Layers with names and initial values that depend on the seed and their place alone."""

    def __init__(self, prefix: str, seed: int, synchronized: bool):
        self.prefix, self.seed, self.synchronized, self.count = prefix, seed, synchronized, 0

    def initializer(self):
        self.count += 1
        return keras.initializers.HeNormal(seed=self.seed * 1009 + self.count)

    def conv(self, x, channels: int, name: str):
        # No bias: batch normalisation removes it, and Adam would turn its rounding noise into full steps.
        x = layers.Conv2D(
            channels, 3, padding="same", use_bias=False, kernel_initializer=self.initializer(), name=f"{name}_conv"
        )(x)
        x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, synchronized=self.synchronized, name=f"{name}_norm")(
            x
        )
        return layers.ReLU(name=f"{name}_relu")(x)

    def up(self, x, channels: int, name: str):
        return layers.Conv2DTranspose(
            channels, 2, strides=2, padding="same", kernel_initializer=self.initializer(), name=f"{name}_up"
        )(x)


def unet(
    window: int, width: int, *, name: str, seed: int = 0, dropout: bool = False, synchronized: bool = False
) -> keras.Model:
    """Builds a network.

    Args:
        window: side in pixels of the square slices; a multiple of `SIZE_MULTIPLE`.
        width: channels of the first level; doubled at each of the four levels below.
        name: prefix of the variables' names: the modality's.
        seed: of the initial weights.
        dropout: Monte-Carlo dropout, on at every call; the network then takes a second input, the
            samples' seeds (batch,) int32.
        synchronized: batch statistics over all replicas rather than each one's own.

    Returns:
        A model (batch, window, window, 1) float32 -> foreground probabilities of the same shape.
    """
    if window % SIZE_MULTIPLE:
        raise ValueError(f"expected a window that is a multiple of {SIZE_MULTIPLE}, got {window}")
    build = _Builder(name, seed, synchronized)
    inputs = keras.Input((window, window, 1), name="slices")
    seeds = keras.Input((), dtype="int32", name="seeds") if dropout else None
    x, skips = inputs, []
    for level, rate in enumerate(DROPOUT_RATES):
        if level:
            x = layers.MaxPooling2D(name=f"down{level}")(x)
        x = build.conv(x, width * 2**level, f"encoder{level}a")
        if dropout:
            x = SampleDropout(rate, salt=level, name=f"dropout{level}")([x, seeds])
        x = build.conv(x, width * 2**level, f"encoder{level}b")
        skips.append(x)
    for level in reversed(range(len(DROPOUT_RATES) - 1)):
        x = build.up(x, width * 2**level, f"decoder{level}")
        x = layers.Concatenate(name=f"skip{level}")([skips[level], x])
        x = build.conv(x, width * 2**level, f"decoder{level}a")
        x = build.conv(x, width * 2**level, f"decoder{level}b")
    # float32 whatever the precision policy: losses and clients rely on it.
    outputs = layers.Conv2D(
        1, 1, activation="sigmoid", kernel_initializer=build.initializer(), dtype="float32", name="probabilities"
    )(x)
    return keras.Model([inputs, seeds] if dropout else inputs, outputs, name=name)
