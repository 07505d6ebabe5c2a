"""Reliability diagrams of soft labels, before and after, with the voxels of each bin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO

import numpy as np

from semicml_tf.evaluation.calibration import BINS

_STYLES = (("#8a8a8a", "o", "--"), ("#0b5fa5", "s", "-"))


def write_png(stream: BinaryIO, rows: Sequence[dict], patients: int) -> None:
    """Draws one diagram per label, with a line for each time of the teachers, and bars below.

    Args:
        rows: of `teachers.measure`.
        patients: number of measured patients, for the title.
    """
    # The figure without pyplot: no display, no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    labels = list(dict.fromkeys(row["label"] for row in rows))
    times = list(dict.fromkeys(row["when"] for row in rows))
    figure = Figure(figsize=(max(4.0 * len(labels), 5.4), 6.4), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(2, len(labels), squeeze=False, sharex=True, sharey="row", height_ratios=(3, 1))
    centres = (np.arange(BINS) + 0.5) / BINS
    for label, curve, bars in zip(labels, grid[0], grid[1]):
        curve.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":", label="perfect")
        for row in (row for row in rows if row["label"] == label):
            number = times.index(row["when"])
            colour, marker, line = _STYLES[number]
            filled = [bin_ for bin_ in row["reliability"] if bin_["count"]]
            curve.plot(
                [bin_["mean_label"] for bin_ in filled],
                [bin_["observed"] for bin_ in filled],
                color=colour,
                marker=marker,
                markersize=4,
                linestyle=line,
                label=f"{row['when']}: {_errors(row)}",
            )
            width = 0.8 / BINS / len(times)
            offset = (number - (len(times) - 1) / 2) * width
            bars.bar(centres + offset, [bin_["count"] for bin_ in row["reliability"]], width, color=colour)
        curve.set(xlim=(0, 1), ylim=(0, 1))
        # Above the axes, where no curve is hidden.
        curve.legend(title=f"label: {label}", fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
        bars.set_yscale("log")
        bars.set_ylim(bottom=0.5)  # A single voxel has a bar.
        bars.set_xlabel("soft label q")
    grid[0, 0].set_ylabel("observed share of truth")
    grid[1, 0].set_ylabel("voxels")
    figure.suptitle(f"{patients} patients that were unlabelled in the run", fontsize=11)
    figure.savefig(stream, format="png", dpi=110)


def _errors(row: dict) -> str:
    unsure = "-" if row["ece_unsure"] is None else f"{row['ece_unsure']:.3f}"
    return f"ECE {row['ece']:.4f}, unsure {unsure}"
