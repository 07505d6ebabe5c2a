"""Draws the scores of all patients as dots, with one row per network and run."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence

from semicml_tf.evaluation.metrics import catalogue
from semicml_tf.reporting import chart, columns
from semicml_tf.reporting.markup import Html, element, join, number
from semicml_tf.reporting.run_facts import RunFacts

# Metrics that are drawn. The tables have all metrics.
_DRAWN = ("dice", "surface_dice", "hd95_mm", "volume_error_ml")
_SHARES = ("dice", "surface_dice", "iou")
_ROW, _RADIUS, _STEP = 40.0, 3.4, 3.2  # pixels of the picture


@dataclasses.dataclass(frozen=True)
class _Strip:
    """The patients of a network.

    Attributes:
        name: label of the row.
        colour: number of the series' colour.
        dots: (value, tooltip, whether the patient was missed or is a false alarm).
    """

    name: str
    colour: int
    dots: Sequence[tuple[float, str, bool]]


def _offsets(places: Sequence[float]) -> list[float]:
    """The smallest offset of each dot from its line at which no dots overlap. `places` are sorted."""
    settled: list[tuple[float, float]] = []
    limit = int(_ROW / 2 / _STEP) - 1
    tried = sorted((step * _STEP for step in range(-limit, limit + 1)), key=abs)
    for place in places:
        near = [(x, y) for x, y in settled if abs(x - place) < 2 * _RADIUS]
        free = (y for y in tried if all((x - place) ** 2 + (y - other) ** 2 >= (2 * _RADIUS) ** 2 for x, other in near))
        settled.append((place, next(free, 0.0)))
    return [offset for _, offset in settled]


def _dot(x: float, y: float, note: str, failed: bool) -> Html:
    title = element("title", note)
    if failed:
        return element("path", title, d=f"M{x - 4:g} {y - 4:g}l8 8m0 -8l-8 8", class_="cross")
    return element("circle", title, cx=x, cy=y, r=_RADIUS, class_="patient")


def _figure(title: str, rows: Sequence[_Strip], x_label: str, x_range: tuple[float, float] | None = None) -> Html:
    """A figure with one strip per row, and a thick line at each median."""
    rows = [row for row in rows if row.dots]
    if not rows:
        return Html("")
    values = [value for row in rows for value, _, _ in row.dots]
    longest = max(len(row.name) for row in rows)
    frame = chart.Frame(
        x_range or chart.padded(values),
        (len(rows) - 0.5, -0.5),  # the first row on top
        width=500,
        height=_ROW * len(rows) + 56,
        left=min(30 + 6.6 * longest, 260),
    )
    parts = [frame.axes(x_label, "", y_ticks=[(index, _short(row.name)) for index, row in enumerate(rows)])]
    for index, row in enumerate(rows):
        dots = sorted(row.dots, key=lambda dot: dot[0])
        places, line = [frame.x(value) for value, _, _ in dots], frame.y(index)
        middle = frame.x(statistics.median(value for value, _, _ in dots))
        drawn = [
            _dot(place, round(line + offset, 2), note, failed)
            for place, offset, (_, note, failed) in zip(places, _offsets(places), dots)
        ]
        median = element(
            "line", element("title", "median"), class_="median", x1=middle, x2=middle, y1=line - 13, y2=line + 13
        )
        parts.append(element("g", drawn, median, class_=chart.series_class(row.colour)))
    return chart.figure(title, frame.picture(title, join(parts)))


def _short(name: str) -> str:
    return name if len(name) <= 36 else f"{name[:17]}…{name[-18:]}"


def failed(case: dict) -> bool:
    """Whether the patient was missed or is a false alarm."""
    return case["outcome"] not in ("both present", "both empty")


def _strip(run: RunFacts, row: dict, metric: str, alone: bool) -> _Strip:
    dots = [
        (
            float(case[metric]),
            f"{case['case_id']}: {number(case[metric], catalogue.digits(metric))} ({case['outcome']})",
            failed(case),
        )
        for case in row["cases"]
        if columns.is_number(case.get(metric))
    ]
    modality = run.title(row)
    colour = run.modalities.index(modality) if modality in run.modalities else len(run.modalities)
    return _Strip(modality if alone else f"{run.name}, {modality}", colour, dots)


def _held(runs: Sequence[RunFacts], target: str | None) -> list[tuple[RunFacts, dict]]:
    """The networks' rows of a class, sorted by modality."""
    pairs = [(run, row) for run in runs for row in run.networks_of(target)]
    return sorted(
        pairs,
        key=lambda pair: (
            pair[0].modalities.index(pair[1]["modality"]) if pair[1]["modality"] in pair[0].modalities else 99
        ),
    )


def section(runs: Sequence[RunFacts]) -> Html:
    """One figure per metric."""
    pairs = _held(runs, None)
    if not pairs:
        return element("p", "No scores yet.")
    measured = columns.of_cases([row for _, row in pairs])
    alone = len({run.key for run, _ in pairs}) == 1
    figures = []
    for metric in (name for name in _DRAWN if name in measured):
        strips = [_strip(run, row, metric, alone) for run, row in pairs]
        name = columns.title(metric)
        figures.append(_figure(name, strips, name, (-0.02, 1.02) if metric in _SHARES else None))
    targets = list(dict.fromkeys(target for run in runs for target in run.targets))
    title = columns.title("dice")
    for target in targets:
        strips = [_strip(run, row, "dice", alone) for run, row in _held(runs, target)]
        figures.append(_figure(f"{title} of {target}", strips, title, (-0.02, 1.02)))
    return join(
        element(
            "p",
            "Dots are patients, and vertical lines are medians. Crosses are missed patients and false alarms. Point at "
            "a dot to see the patient's name. "
            + ("Figures without a class show each patient's mean over the classes." if targets else ""),
        ),
        element("div", figures, class_="plots wide"),
    )
