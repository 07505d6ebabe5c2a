"""A picture of a few validation slices: modalities side by side, truth and prediction outlined."""

from __future__ import annotations

import io

import numpy as np

from semicml_tf.errors import printable
from semicml_tf.training.validation import Validated


def draw(validated: Validated, title: str) -> bytes:
    """Draws the slices that a validation kept; returns PNG bytes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pictures = validated.pictures
    modalities = list(next(iter(pictures.values()))[0])
    figure, axes = pyplot.subplots(
        len(pictures), len(modalities), figsize=(3.2 * len(modalities), 3.2 * len(pictures)), squeeze=False
    )
    for row, (case, (images, truth, maps)) in zip(axes, pictures.items()):
        for axis, name in zip(row, modalities):
            low, high = np.percentile(images[name], [1, 99])
            axis.imshow(images[name], cmap="gray", vmin=low, vmax=max(high, low + 1e-3))
            for values, cut, colour in ((truth, 0.5, "lime"), (maps[name], validated.thresholds[name], "red")):
                if values.min() < cut < values.max():
                    axis.contour(values, [cut], colors=colour, linewidths=1.0)
            axis.set_title(printable(f"{case} {name}"), fontsize=8, parse_math=False)
            axis.axis("off")
    figure.suptitle(f"{title}\ngreen: truth, red: prediction", fontsize=9)
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    pyplot.close(figure)
    return buffer.getvalue()
