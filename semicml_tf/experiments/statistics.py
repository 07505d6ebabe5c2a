"""Statistics of an experiment: means over seeds and patients, the gap closed, and the labels that a method saves."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from semicml_tf.evaluation.scores import mean_and_sd

# Equal means can differ in their last bits, because sums have another order. Such means count as equal.
_EQUAL_DIGITS = 12


@dataclasses.dataclass(frozen=True)
class Spread:
    """One number of a table.

    Attributes:
        mean: over seeds, of the mean over patients.
        sd_seeds: sample sd over seeds of the mean over patients; None with one seed.
        sd_patients: sample sd over patients of each patient's mean over seeds; None with one patient.
        seeds, patients: numbers of seeds and patients.
    """

    mean: float
    sd_seeds: float | None
    sd_patients: float | None
    seeds: int
    patients: int


def means_of_patients(scores: Mapping[int, Mapping[str, float]]) -> dict[str, float]:
    """Each patient's mean over seeds.

    Args:
        scores: by seed, by patient; every seed has the same patients.
    """
    first = next(iter(scores.values()))
    if any(set(by_patient) != set(first) for by_patient in scores.values()):
        raise ValueError("expected the same patients with every seed")
    return {name: mean_and_sd([by_patient[name] for by_patient in scores.values()])["mean"] for name in first}


def means_of_seeds(scores: Mapping[int, Mapping[str, float]]) -> dict[int, float]:
    """Each seed's mean over patients."""
    return {seed: mean_and_sd(list(by_patient.values()))["mean"] for seed, by_patient in scores.items()}


def spread(scores: Mapping[int, Mapping[str, float]]) -> Spread:
    """Mean and both standard deviations of scores by seed, by patient."""
    over_seeds = mean_and_sd(list(means_of_seeds(scores).values()))
    over_patients = mean_and_sd(list(means_of_patients(scores).values()))
    return Spread(over_seeds["mean"], over_seeds["sd"], over_patients["sd"], over_seeds["n"], over_patients["n"])


def sd_over_folds(
    scores: Mapping[int, Mapping[str, float]], folds: Mapping[int, Sequence[Sequence[str]]]
) -> float | None:
    """The mean over seeds of the sample sd over folds of the mean over each fold's patients.

    Args:
        scores: by seed, by patient.
        folds: by seed, the patients of each fold. Patients without a score are left out.

    Returns:
        The number, or None if no seed has two folds with a score.
    """
    sds = []
    for seed, by_patient in scores.items():
        scores_by_fold = [[by_patient[name] for name in fold if name in by_patient] for fold in folds[seed]]
        sds.append(mean_and_sd([mean_and_sd(values)["mean"] for values in scores_by_fold if values])["sd"])
    return mean_and_sd(sds)["mean"]


def gap_closed(score: float, baseline: float, ceiling: float) -> float | None:
    """Share of the gap that a score closes: (score - baseline) / (ceiling - baseline).

    It is negative if the score is below the baseline, above 1 if the score is above the ceiling, and None if the
    ceiling is not above the baseline.
    """
    gap = ceiling - baseline
    return (score - baseline) / gap if round(gap, _EQUAL_DIGITS) > 0 else None


@dataclasses.dataclass(frozen=True)
class Needed:
    """Labelled patients that the baseline needs for a score.

    Attributes:
        labels: the number, not rounded, or a bound of the number.
        bound: "" if the curve crosses the score. ">" if the whole curve is below the score: `labels` is its largest
            count. "<" if the whole curve is above the score: `labels` is its smallest count.
    """

    labels: float
    bound: str = ""

    def saved(self, labelled: int) -> float:
        """Labels saved by a method that reached the score with `labelled` patients, under the same `bound`."""
        return self.labels - labelled


def rising(curve: Mapping[int, float]) -> list[tuple[int, float]]:
    """The curve's running maximum: points (labels, best score with at most these labels), in order of labels."""
    points, best = [], -math.inf
    for labelled in sorted(curve):
        best = max(best, round(curve[labelled], _EQUAL_DIGITS))
        points.append((labelled, best))
    return points


def needed(curve: Mapping[int, float], score: float) -> Needed:
    """The least number of labelled patients with which the baseline scores `score`.

    The curve is replaced by its running maximum (`rising`). Between points, the curve is linear over the logarithm of
    the number of labelled patients.

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
