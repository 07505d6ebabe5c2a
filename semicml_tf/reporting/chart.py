"""The frame of a plot in inline SVG: axes, ticks and grid. The page's style sets the colours, light or dark."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from semicml_tf.reporting.markup import Html, element, join

# The page's style has the classes s0 to s7. Further series start again at s0.
SERIES = 8


def series_class(index: int) -> str:
    """The CSS class of a series' colour."""
    return f"s{index % SERIES}"


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers from `low` to `high`, in ascending order."""
    if not high > low:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten from `low` to `high`, with multiples in between if there are fewer than three."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 2, 5), range(1, 10)):
        values = [f * 10.0**e for e in exponents for f in factors if low * 0.999 <= f * 10.0**e <= high * 1.001]
        if len(values) > 2:
            break
    return values or [low]


def shown(value: float) -> str:
    """A tick's label."""
    return f"{value:.4g}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.0e}".replace("e-0", "e-")


@dataclasses.dataclass(frozen=True)
class Frame:
    """Maps data to positions in a picture.

    Attributes:
        x_range, y_range: of the data.
        width, height: of the picture.
        left, right, top, bottom: margins for labels.
        x_log, y_log: whether an axis is logarithmic.
    """

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    width: float = 420
    height: float = 250
    left: float = 60
    right: float = 14
    top: float = 12
    bottom: float = 42
    x_log: bool = False
    y_log: bool = False

    @staticmethod
    def _share(value: float, ends: tuple[float, float], log: bool) -> float:
        low, high = (math.log(end) for end in ends) if log else ends
        value = math.log(value) if log else value
        return 0.5 if high == low else (value - low) / (high - low)

    def x(self, value: float) -> float:
        """Horizontal position of a value."""
        inner = self.width - self.left - self.right
        return round(self.left + inner * self._share(value, self.x_range, self.x_log), 2)

    def y(self, value: float) -> float:
        """Vertical position of a value."""
        inner = self.height - self.top - self.bottom
        return round(self.top + inner * (1 - self._share(value, self.y_range, self.y_log)), 2)

    def axes(
        self,
        x_label: str,
        y_label: str,
        *,
        x_ticks: Sequence[tuple[float, str]] | None = None,
        y_ticks: Sequence[tuple[float, str]] | None = None,
    ) -> Html:
        """Grid, ticks and names of both axes. `x_ticks` and `y_ticks` are values with labels."""

        def chosen(given, ends, log):
            if given is not None:
                return given
            return [(value, shown(value)) for value in (log_ticks(*ends) if log else ticks(*ends))]

        foot, head = self.height - self.bottom, self.top
        parts = []
        for value, label in chosen(x_ticks, self.x_range, self.x_log):
            place = self.x(value)
            parts.append(element("line", class_="grid", x1=place, x2=place, y1=head, y2=foot))
            parts.append(element("text", label, x=place, y=foot + 15, text_anchor="middle"))
        for value, label in chosen(y_ticks, self.y_range, self.y_log):
            place = self.y(value)
            parts.append(element("line", class_="grid", x1=self.left, x2=self.width - self.right, y1=place, y2=place))
            parts.append(element("text", label, x=self.left - 6, y=place + 4, text_anchor="end"))
        middle = (self.left + self.width - self.right) / 2
        parts.append(element("text", x_label, class_="axis", x=middle, y=self.height - 6, text_anchor="middle"))
        if y_label:
            place = (head + foot) / 2
            parts.append(
                element(
                    "text",
                    y_label,
                    class_="axis",
                    x=12,
                    y=place,
                    text_anchor="middle",
                    transform=f"rotate(-90 12 {place})",
                )
            )
        return join(parts)

    def picture(self, title: str, *parts: Any) -> Html:
        """The SVG element. Screen readers read its `title`."""
        box = f"0 0 {self.width:g} {self.height:g}"
        return element("svg", *parts, viewBox=box, role="img", aria_label=title, class_="chart")


def padded(values: Sequence[float], *, log: bool = False, share: float = 0.05) -> tuple[float, float]:
    """The range of the values, with a margin at both ends."""
    low, high = min(values), max(values)
    if log:
        return (low / 1.3, high * 1.3) if low == high else (low / (high / low) ** share, high * (high / low) ** share)
    room = (high - low) * share or max(abs(high), 1.0) * share
    return low - room, high + room


def legend(names: Sequence[tuple[str, int]]) -> Html:
    """Names of series with their colours."""
    keys = [element("span", element("i", class_=series_class(index)), name, class_="key") for name, index in names]
    return element("div", keys, class_="legend")


def figure(title: str, picture: Html, *below: Any) -> Html:
    """A picture with its title above and further parts below."""
    return element("figure", element("figcaption", title), picture, *below, class_="plot")
