"""A run's history as curves, over its epochs."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

_DICE = "validation Dice"
# What a column's name begins with, by panel; the numbers that are left are what the method watches.
PANELS = {
    _DICE: ("dice_",),
    "loss": ("loss",),
    "watched": (),
    "gradient norm": ("gradient_norm_",),
    "learning rate": ("learning_rate_",),
    "slices a second": ("slices_per_second",),
}
_ELSEWHERE = ("epoch", "step", "threshold_", "loss_scale_", "offset")
_LOGARITHMIC = ("loss", "gradient norm")
# Lines of the classes. With more classes than these, only each modality's mean is drawn.
_CLASS_LINES = ("dashed", "dotted", "dashdot", (0, (6, 1, 1, 1, 1, 1)))


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
        for name, style in _styles(panel, names).items():
            points = [(row["epoch"], row[name]) for row in rows if name in row]
            axis.plot(*zip(*points), **style)
        if panel in _LOGARITHMIC and any(row.get(name, 0) > 0 for row in rows for name in names):
            axis.set_yscale("log")
        if panel == _DICE:
            axis.set_ylim(0, 1)
            classes = _classes(names)
            for one, line in zip(classes, _CLASS_LINES if len(classes) <= len(_CLASS_LINES) else ()):
                axis.plot([], [], color="grey", linewidth=0.8, linestyle=line, label=one)
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


def _styles(panel: str, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """How each column of a panel is drawn. Of several classes, a modality has a colour, and a class has a dash."""
    classes = _classes(names) if panel == _DICE else ()
    of_a_class = {name for name in names if name.endswith(tuple(f"_{one}" for one in classes))} if classes else set()
    styles: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(name for name in names if name not in of_a_class):
        colour = f"C{number}"
        styles[name] = {"color": colour, "marker": ".", "markersize": 4, "linewidth": 1.2}
        styles[name]["label"] = _short(panel, name)
        if len(classes) <= len(_CLASS_LINES):
            for one, line in zip(classes, _CLASS_LINES):
                styles[f"{name}_{one}"] = {"color": colour, "linestyle": line, "linewidth": 0.8}
    return styles


def _classes(names: Sequence[str]) -> tuple[str, ...]:
    """The classes in the columns ``dice_MODALITY`` and ``dice_MODALITY_CLASS``; () if there is one target."""
    suffixes = {
        mean: tuple(name.removeprefix(f"{mean}_") for name in names if name.startswith(f"{mean}_")) for mean in names
    }
    found = {classes for classes in suffixes.values() if len(classes) > 1}
    return found.pop() if len(found) == 1 else ()


def _short(panel: str, name: str) -> str:
    for beginning in PANELS[panel]:
        if name.startswith(beginning) and len(name) > len(beginning):
            return name[len(beginning) :].strip("_")
    return name
