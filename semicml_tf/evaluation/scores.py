"""From patients' scores to one row per method."""

from __future__ import annotations

import math
from collections.abc import Sequence

from semicml_tf.evaluation.metrics import CaseScore

# Attributes of `CaseScore` that are averaged over patients, in the order of every table.
METRICS = ("dice", "ppv", "sensitivity", "hd95_mm", "assd_mm")


def mean_and_sd(values: Sequence[float | None]) -> dict[str, float | int | None]:
    """Mean and sample standard deviation of the values that are not None.

    Returns:
        ``{"mean", "sd", "n"}``; the mean of no value and the sd of fewer than two are None.

    Raises:
        ValueError: a value is NaN or infinite: a mean must not hide it.
    """
    defined = [float(value) for value in values if value is not None]
    if not all(math.isfinite(value) for value in defined):
        raise ValueError(f"expected finite scores, got {defined}")
    count = len(defined)
    mean = math.fsum(defined) / count if count else None
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in defined) / (count - 1)) if count > 1 else None
    return {"mean": mean, "sd": sd, "n": count}


def summarise(scores: Sequence[CaseScore]) -> dict:
    """One method over its patients.

    Returns:
        ``cases``, ``missed`` (truth, no prediction), ``false_alarms`` (prediction, no truth), and by
        metric what `mean_and_sd` returns.
    """
    summary: dict = {
        "cases": len(scores),
        "missed": sum(score.outcome == "missed" for score in scores),
        "false_alarms": sum(score.outcome == "false alarm" for score in scores),
    }
    return summary | {metric: mean_and_sd([getattr(score, metric) for score in scores]) for metric in METRICS}
