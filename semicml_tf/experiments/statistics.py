"""From scores by seed and patient to means and shares: pure functions of numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from semicml_tf.evaluation.scores import mean_and_sd

# Means over seeds differ in their last bits by the order of summing: as far apart, scores count as equal.
_EQUAL_DIGITS = 12


@dataclasses.dataclass(frozen=True)
class Spread:
    """One number of a table.

    Attributes:
        mean: over seeds, of the mean over patients.
        sd_seeds: sample sd over seeds of the mean over patients; None with one seed.
        sd_patients: sample sd over patients of each patient's mean over seeds; None with one patient.
        seeds, patients: how many.
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


def gap_closed(score: float, baseline: float, ceiling: float) -> float | None:
    """Share of the way from `baseline` to `ceiling` that `score` has made: (score - baseline) / (ceiling - baseline).

    Below 0 where the score is worse than the baseline, above 1 where it is better than the ceiling; None where the
    ceiling is not above the baseline: then there is no gap.
    """
    gap = ceiling - baseline
    return (score - baseline) / gap if round(gap, _EQUAL_DIGITS) > 0 else None
