"""How many labelled patients a method saves: what the baseline needs for the same score."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

# Equal means may differ in their last bits by the order of summing: they must not turn a number into a bound.
_EQUAL_DIGITS = 12


@dataclasses.dataclass(frozen=True)
class Needed:
    """Labelled patients that the baseline needs for a score.

    Attributes:
        labels: the number, not rounded; where `bound` is not "", a bound of it.
        bound: "" if the curve passes through the score; ">" if it does not reach it, `labels` then is its largest
            count; "<" if its first point is already above it, `labels` then is its smallest count.
    """

    labels: float
    bound: str = ""

    def saved(self, labelled: int) -> float:
        """Labels saved by a method that reached the score with `labelled` patients, under the same `bound`."""
        return self.labels - labelled


def rising(curve: Mapping[int, float]) -> list[tuple[int, float]]:
    """The curve's points in order, each score raised to the best one with as many or fewer labels."""
    points, best = [], -math.inf
    for labelled in sorted(curve):
        best = max(best, round(curve[labelled], _EQUAL_DIGITS))
        points.append((labelled, best))
    return points


def needed(curve: Mapping[int, float], score: float) -> Needed:
    """The least number of labelled patients with which the baseline scores `score`.

    The curve is taken as rising (`rising`) and as straight between its points over the logarithm of the number of
    labelled patients.

    Args:
        curve: the baseline's mean score by number of labelled patients (1 or more); two points or more.
        score: to reach.
    """
    if len(curve) < 2 or min(curve) < 1:
        raise ValueError(f"expected a curve of two or more points from 1 label on, got {dict(curve)}")
    points, score = rising(curve), round(score, _EQUAL_DIGITS)
    if score < points[0][1]:
        return Needed(points[0][0], "<")
    if score > points[-1][1]:
        return Needed(points[-1][0], ">")
    before = points[0]
    for point in points:
        if score <= point[1]:
            break
        before = point
    if point[1] == before[1]:
        return Needed(float(point[0]))
    part = (score - before[1]) / (point[1] - before[1])
    return Needed(math.exp(math.log(before[0]) + part * (math.log(point[0]) - math.log(before[0]))))
