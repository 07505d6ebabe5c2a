"""Outlines of masks in pictures: as pixels, and on the axes of a figure."""

from __future__ import annotations

import numpy as np

TRUTH, PREDICTION = "#19d219", "#ff5a1f"
# Of classes, in their order; they differ on grey images and to colour-blind readers. Further classes begin again.
_OF_CLASSES = ("#ffd400", "#2aa9ff", "#ff5a1f", "#19d219", "#e07bff", "#00d5c8", "#ff8fb8", "#b4b4ff")


def class_colour(number: int) -> str:
    """The colour of a class, by its number from 0."""
    return _OF_CLASSES[number % len(_OF_CLASSES)]


def class_rgb(number: int) -> tuple[float, float, float]:
    """The colour of a class as red, green and blue from 0 to 1."""
    text = class_colour(number)
    return int(text[1:3], 16) / 255, int(text[3:5], 16) / 255, int(text[5:7], 16) / 255


def border(mask: np.ndarray, *, outside: bool = False) -> np.ndarray:
    """The pixels of a line along the border of a mask, two pixels wide. Beyond the picture is background.

    Args:
        mask: (rows, columns) of bool.
        outside: whether the line lies outside the mask. A small lesion then stays visible inside the line.
    """
    from scipy import ndimage

    if outside:
        return ndimage.binary_dilation(mask, iterations=2) & ~mask
    return mask & ~ndimage.binary_erosion(mask, iterations=2)


def draw(axes, values: np.ndarray, colour: str, *, cut: float = 0.5, **style) -> None:
    """Draws the line along which `values` cross `cut`. Beyond the picture is background.

    Args:
        axes: of a matplotlib figure, which shows the picture.
        values: (rows, columns): a mask, or probabilities. Nothing is drawn where no value is above `cut`.
        style: further arguments of `matplotlib.axes.Axes.contour`.
    """
    if values.max() > cut:
        rows, columns = (np.arange(-1, size + 1) for size in values.shape)
        # Padded: a mask at the border of the picture has a line there, and `contour` refuses constant values.
        axes.contour(columns, rows, np.pad(values, 1).astype(float), [cut], colors=colour, **style)
