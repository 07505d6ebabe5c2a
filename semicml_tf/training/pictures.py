"""A picture of a few validation slices: modalities side by side, truth and prediction outlined."""

from __future__ import annotations

import io

import numpy as np


def draw(pictures: dict, title: str) -> bytes:
    """Draws what `validation.Validated.pictures` holds; returns PNG bytes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    modalities = list(next(iter(pictures.values()))[0])
    figure, axes = pyplot.subplots(
        len(pictures), len(modalities), figsize=(3.2 * len(modalities), 3.2 * len(pictures)), squeeze=False
    )
    for row, (case, (images, truth, maps)) in zip(axes, pictures.items()):
        for axis, name in zip(row, modalities):
            low, high = np.percentile(images[name], [1, 99])
            axis.imshow(images[name], cmap="gray", vmin=low, vmax=max(high, low + 1e-3))
            for values, colour in ((truth, "lime"), (maps[name], "red")):
                if (values >= 0.5).any() and not (values >= 0.5).all():
                    axis.contour(values, [0.5], colors=colour, linewidths=1.0)
            axis.set_title(f"{case} {name}", fontsize=8)
            axis.axis("off")
    figure.suptitle(f"{title}\ngreen: truth, red: prediction", fontsize=9)
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    pyplot.close(figure)
    return buffer.getvalue()
