"""One batch's maps in both modalities, and the similarity of every pair of them."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from semicml_tf.diagnostics.similarity import Batch, pairs
from semicml_tf.methods.catalogue import MethodSettings

_SHOWN = 8


def draw(shown: Sequence[tuple[str, Batch]], modalities: Sequence[str], settings: MethodSettings) -> bytes:
    """Draws a column for each time: the matrix above, maps below; returns PNG bytes.

    Args:
        shown: (when, maps), a patient's slices side by side.
        modalities: names of the batches' maps.
        settings: which pairs are pushed apart: dots.
    """
    # The figure without pyplot: no display, no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4 * len(shown), 7.2), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(2, len(shown), squeeze=False, height_ratios=(3, 1))
    for (when, batch), axis, strip in zip(shown, grid[0], grid[1]):
        found = pairs(batch, settings)
        count = len(batch.patients)
        image = axis.imshow(found.scores, cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
        rows, columns = np.nonzero(found.used)
        axis.scatter(columns, rows, s=60 / count, color="white", linewidths=0)
        axis.axhline(count - 0.5, color="white")
        axis.axvline(count - 0.5, color="white")
        middles = [count / 2 - 0.5, 1.5 * count - 0.5]
        axis.set_xticks(middles, modalities)
        axis.set_yticks(middles, modalities, rotation=90, va="center")
        axis.set_title(f"{when}: similarity; dots: pushed apart", fontsize=10)
        strip.imshow(_maps(batch), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        height = batch.first.shape[1]
        strip.set_yticks([height / 2, 1.5 * height], modalities, rotation=90, va="center")
        width = batch.first.shape[2]
        owners = batch.patients[:_SHOWN]
        strip.set_xticks(
            [(k + 0.5) * width for k in range(len(owners))], [str(number) for number in owners], fontsize=8
        )
        strip.set_xlabel("the first slices' maps, by number of the patient", fontsize=9)
    figure.colorbar(image, ax=list(grid[0]), shrink=0.8)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100)
    return stream.getvalue()


def _maps(batch: Batch) -> np.ndarray:
    return np.concatenate([np.concatenate(list(maps[:_SHOWN, ..., 0]), axis=1) for maps in (batch.first, batch.second)])
