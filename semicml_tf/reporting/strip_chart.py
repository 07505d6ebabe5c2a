"""A dot for each patient, a line of dots for each network: how scores are spread, which a mean does not tell."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence

from semicml_tf.reporting import chart
from semicml_tf.reporting.markup import Html, element, join

_ROW, _RADIUS, _STEP = 40.0, 3.4, 3.2


@dataclasses.dataclass(frozen=True)
class Strip:
    """The patients of a network.

    Attributes:
        name: beside the line.
        colour: number of its colour.
        dots: (value, text under the pointer, whether it stands for a miss or a false alarm).
    """

    name: str
    colour: int
    dots: Sequence[tuple[float, str, bool]]


def _offsets(places: Sequence[float]) -> list[float]:
    """How far each dot leaves its line so as to hide no other, as near to the line as can be; places are sorted."""
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


def strips(title: str, rows: Sequence[Strip], x_label: str, x_range: tuple[float, float] | None = None) -> Html:
    """A figure of strips, one below the other, a thick line at each median."""
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
