"""From scores by seed and patient to means, tests and shares: pure functions of numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

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


@dataclasses.dataclass(frozen=True)
class Paired:
    """Two methods on the same patients.

    Attributes:
        difference: mean over patients of the first one's score less the second one's.
        p: two-sided, of the Wilcoxon signed-rank test; 1 where no patient differs.
        patients: how many.
        differing: patients whose scores differ: those that the test ranks.
    """

    difference: float
    p: float
    patients: int
    differing: int


def wilcoxon(first: Sequence[float], second: Sequence[float]) -> Paired:
    """Wilcoxon's signed-rank test of paired scores (Biometrics Bulletin 1 (1945) 80-83), two-sided.

    Patients without a difference are left out, as Wilcoxon did. Up to 50 patients the p-value is exact, by the
    distribution of the rank sum or, where differences tie in size, by all changes of sign up to 13 patients; else
    by the normal approximation with correction for ties.

    Args:
        first, second: of the same patients in the same order.
    """
    import scipy.stats

    if len(first) != len(second) or not first:
        raise ValueError(f"expected pairs of scores, got {len(first)} and {len(second)}")
    differences = [round(a - b, _EQUAL_DIGITS) for a, b in zip(first, second)]
    unequal = [value for value in differences if value != 0]
    p = float(scipy.stats.wilcoxon(unequal).pvalue) if unequal else 1.0
    return Paired(mean_and_sd(differences)["mean"], min(p, 1.0), len(differences), len(unequal))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction (Scand. J. Statist. 6 (1979) 65-70), in the order of the arguments.

    The i-th smallest of m values, i from 0, is multiplied by m - i; none is less than a smaller one's, none above 1.
    """
    corrected, least = [0.0] * len(p_values), 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(1.0, p_values[index] * (len(p_values) - place)))
        corrected[index] = least
    return corrected


def gap_closed(score: float, baseline: float, ceiling: float) -> float | None:
    """Share of the way from `baseline` to `ceiling` that `score` has made: (score - baseline) / (ceiling - baseline).

    Below 0 where the score is worse than the baseline, above 1 where it is better than the ceiling; None where the
    ceiling is not above the baseline: then there is no gap.
    """
    gap = ceiling - baseline
    return (score - baseline) / gap if round(gap, _EQUAL_DIGITS) > 0 else None
