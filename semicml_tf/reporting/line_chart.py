"""Line charts: learning curves, reliability diagrams, the annotation-cost curve."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from semicml_tf.reporting import chart
from semicml_tf.reporting.markup import Html, element, join


@dataclasses.dataclass(frozen=True)
class Series:
    """A line.

    Attributes:
        name: in the legend.
        points: (x, y), in order.
        colour: number of the series' colour.
        notes: a tooltip for each point. Without notes, tooltips show the numbers.
        line: whether a line joins the points.
        dashed: whether the line is dashed.
    """

    name: str
    points: Sequence[tuple[float, float]]
    colour: int
    notes: Sequence[str] = ()
    line: bool = True
    dashed: bool = False


def _drawn(frame: chart.Frame, series: Series) -> Html:
    places = [(frame.x(x), frame.y(y)) for x, y in series.points]
    parts = []
    if series.line and len(places) > 1:
        path = " ".join(f"{x:g},{y:g}" for x, y in places)
        parts.append(element("polyline", points=path, class_="line dashed" if series.dashed else "line"))
    for number, ((x, y), value) in enumerate(zip(places, series.points)):
        note = series.notes[number] if series.notes else f"{series.name}: {value[0]:g}, {value[1]:.4g}"
        parts.append(element("circle", element("title", note), cx=x, cy=y, r=2.4 if series.line else 3, class_="dot"))
    return element("g", parts, class_=chart.series_class(series.colour))


def lines(
    title: str,
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str = "",
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    x_log: bool = False,
    y_log: bool = False,
    x_ticks: Sequence[tuple[float, str]] | None = None,
    uprights: Sequence[tuple[float, str]] = (),
    diagonal: bool = False,
) -> Html:
    """A figure of lines with a legend.

    Args:
        series: points that a logarithmic axis cannot show are left out.
        uprights: positions and labels of vertical lines.
        diagonal: whether to draw y = x.
    """
    series = [
        dataclasses.replace(
            line, points=[p for p in line.points if (p[0] > 0 or not x_log) and (p[1] > 0 or not y_log)]
        )
        if not line.notes
        else line
        for line in series
    ]
    series = [line for line in series if line.points]
    if not series:
        return Html("")
    xs, ys = ([point[axis] for line in series for point in line.points] for axis in (0, 1))
    frame = chart.Frame(
        x_range or chart.padded(xs, log=x_log, share=0.03),
        y_range or chart.padded(ys, log=y_log),
        x_log=x_log,
        y_log=y_log,
    )
    parts = [frame.axes(x_label, y_label, x_ticks=x_ticks)]
    if diagonal:
        low, high = max(frame.x_range[0], frame.y_range[0]), min(frame.x_range[1], frame.y_range[1])
        ends = {"x1": frame.x(low), "y1": frame.y(low), "x2": frame.x(high), "y2": frame.y(high)}
        parts.append(element("line", class_="reference", **ends))
    for value, what in uprights:
        place = frame.x(value)
        ends = {"x1": place, "x2": place, "y1": frame.top, "y2": frame.height - frame.bottom}
        parts.append(element("line", element("title", what), class_="reference", **ends))
        parts.append(element("text", what, x=place + 4, y=frame.top + 10, class_="mark"))
    parts += [_drawn(frame, line) for line in series]
    names = dict.fromkeys((line.name, line.colour) for line in series if line.name)
    return chart.figure(title, frame.picture(title, join(parts)), chart.legend(list(names)))
