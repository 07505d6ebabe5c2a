"""The 2-D U-Net of METHOD: five levels, batch normalisation, one sigmoid channel."""

from __future__ import annotations

import keras
from keras import layers

DROPOUT_RATES = (0.05, 0.1, 0.2, 0.3, 0.5)


def unet(window: int, width: int, *, name: str) -> keras.Model:
    """temporary"""
    x = keras.Input((window, window, 1), name="slices")
    y = layers.Conv2D(1, 3, padding="same", activation="sigmoid")(x)
    return keras.Model(x, y, name=name)
