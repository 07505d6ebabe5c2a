"""A run's history as curves, over its epochs."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

# What a column's name begins with, by panel; the numbers that are left are what the method watches.
PANELS = {
    "validation Dice": ("dice_",),
    "loss": ("loss",),
    "watched": (),
    "gradient norm": ("gradient_norm_",),
    "learning rate": ("learning_rate_",),
    "slices a second": ("slices_per_second",),
}
_ELSEWHERE = ("epoch", "step", "threshold_", "loss_scale_")
_LOGARITHMIC = ("loss", "gradient norm")


def columns_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The columns that each panel shows."""
    numbers = dict.fromkeys(name for row in rows for name, value in row.items() if isinstance(value, (int, float)))
    taken = [name for name in numbers if name.startswith(_ELSEWHERE)]
    shown = {}
    for panel, beginnings in PANELS.items():
        shown[panel] = [name for name in numbers if beginnings and name.startswith(beginnings) and name not in taken]
        taken += shown[panel]
    shown["watched"] = [name for name in numbers if name not in taken]
    return shown


def draw(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Draws a history: dashed lines where a stage begins, red ticks where an epoch has an alarm; returns PNG bytes."""
    # The figure without pyplot: no display, no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(12.6, 6.4), layout="constrained")
    FigureCanvasAgg(figure)
    begins = [row["epoch"] for before, row in zip(rows, rows[1:]) if before["stage"] != row["stage"]]
    alarms = [row["epoch"] for row in rows if row.get("alarm")]
    for axis, (panel, names) in zip(figure.subplots(2, 3).flat, columns_of(rows).items()):
        for name in names:
            held = [(row["epoch"], row[name]) for row in rows if name in row]
            axis.plot(*zip(*held), marker=".", markersize=4, linewidth=1.2, label=_short(panel, name))
        if panel in _LOGARITHMIC and any(row.get(name, 0) > 0 for row in rows for name in names):
            axis.set_yscale("log")
        if panel == "validation Dice":
            axis.set_ylim(0, 1)
        for epoch in begins:
            axis.axvline(epoch - 0.5, color="grey", linestyle="--", linewidth=0.8)
        if alarms:
            axis.plot(alarms, [0.02] * len(alarms), "r|", transform=axis.get_xaxis_transform(), label="alarm")
        axis.set_title(panel, fontsize=10)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.25)
        if names:
            axis.legend(fontsize=7)
    stages = list(dict.fromkeys(row["stage"] for row in rows))
    figure.suptitle(f"{', then '.join(stages)}; epoch {rows[-1]['epoch']}, step {rows[-1]['step']}", fontsize=11)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=90)
    return stream.getvalue()


def _short(panel: str, name: str) -> str:
    for beginning in PANELS[panel]:
        if name.startswith(beginning) and len(name) > len(beginning):
            return name[len(beginning) :].strip("_")
    return name
