"""Paired tests of two methods on the same patients: Wilcoxon's test, and Holm's correction for several tests."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from semicml_tf.evaluation import bootstrap
from semicml_tf.evaluation.scores import mean_and_sd

# Equal scores may differ in their last bits, because sums have another order. Such scores count as equal.
_EQUAL_DIGITS = 12


@dataclasses.dataclass(frozen=True)
class Paired:
    """Two methods on the same patients.

    Attributes:
        difference: mean over patients of the first one's score less the second one's.
        p: two-sided, of the Wilcoxon signed-rank test; 1 where no patient differs.
        patients: number of patients.
        differing: number of patients whose scores differ; the test ranks them.
        higher: number of patients whose score is higher with the first method.
        interval: of the difference, ``(low, high)`` by `bootstrap.intervals`; None for few patients.
    """

    difference: float
    p: float
    patients: int
    differing: int
    higher: int
    interval: tuple[float, float] | None


def wilcoxon(first: Sequence[float], second: Sequence[float]) -> Paired:
    """Wilcoxon's signed-rank test of paired scores (Biometrics Bulletin 1 (1945) 80-83), two-sided.

    As in Wilcoxon's article, patients without a difference are left out. Without ties, the p-value is exact for up to
    50 patients. With ties, it is exact for up to 13 patients, by all changes of sign. Otherwise it uses the normal
    approximation with correction for ties.

    Args:
        first, second: of the same patients in the same order.
    """
    import scipy.stats

    if len(first) != len(second) or not first:
        raise ValueError(f"expected pairs of scores, got {len(first)} and {len(second)}")
    differences = [round(a - b, _EQUAL_DIGITS) for a, b in zip(first, second)]
    unequal = [value for value in differences if value != 0]
    p = float(scipy.stats.wilcoxon(unequal).pvalue) if unequal else 1.0
    (interval,) = bootstrap.intervals([differences])
    return Paired(
        difference=mean_and_sd(differences)["mean"],
        p=min(p, 1.0),
        patients=len(differences),
        differing=len(unequal),
        higher=sum(value > 0 for value in unequal),
        interval=interval and tuple(interval),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction (Scand. J. Statist. 6 (1979) 65-70), in the order of the arguments.

    The i-th smallest of m values, i from 0, is multiplied by m - i. Corrected values keep the order and are at most 1.
    """
    corrected, least = [0.0] * len(p_values), 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(1.0, p_values[index] * (len(p_values) - place)))
        corrected[index] = least
    return corrected
