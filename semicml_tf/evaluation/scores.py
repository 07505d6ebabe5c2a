"""Summarises the scores of patients to one row per method."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from semicml_tf.evaluation import bootstrap
from semicml_tf.evaluation.metrics.case_score import LESIONS, CaseScore
from semicml_tf.evaluation.metrics.catalogue import METRICS

# Outcomes whose DSC and distances are set by the policy and not measured.
ONE_EMPTY = ("missed", "false alarm")
WITHOUT = "without_missed_and_false_alarms"


def mean_and_sd(values: Sequence[float | None]) -> dict[str, float | int | None]:
    """Mean and sample standard deviation of the values that are not None.

    Returns:
        ``{"mean", "sd", "n"}``. The mean of no value and the sd of fewer than two values are None.

    Raises:
        ValueError: a value is NaN or infinite.
    """
    defined = [float(value) for value in values if value is not None]
    if not all(math.isfinite(value) for value in defined):
        raise ValueError(f"expected finite scores, got {defined}")
    count = len(defined)
    mean = math.fsum(defined) / count if count else None
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in defined) / (count - 1)) if count > 1 else None
    return {"mean": mean, "sd": sd, "n": count}


def describe(scores: Sequence[CaseScore]) -> dict[str, dict]:
    """Result of `mean_and_sd`, ``median`` and ``interval`` (`bootstrap.intervals`) over patients, by metric."""
    defined = {
        metric: [value for value in (getattr(score, metric) for score in scores) if value is not None]
        for metric in METRICS
    }
    described = {
        metric: {**mean_and_sd(values), "median": statistics.median(values) if values else None, "interval": None}
        for metric, values in defined.items()
    }
    for length in {len(values) for values in defined.values()}:
        alike = [metric for metric, values in defined.items() if len(values) == length]
        for metric, interval in zip(alike, bootstrap.intervals([defined[metric] for metric in alike])):
            described[metric]["interval"] = interval
    return described


def summarise(scores: Sequence[CaseScore]) -> dict:
    """Summarises the scores of one method over its patients.

    Returns:
        ``cases``, ``missed`` (truth, no prediction), ``false_alarms`` (prediction, no truth), the result of `describe`,
        and ``lesions`` (sums by name of `LESIONS`; None if a score lacks them). `WITHOUT` has ``cases`` and metrics of
        the patients who are neither missed nor false alarms.
    """
    measured = [score for score in scores if score.outcome not in ONE_EMPTY]
    counted = all(score.lesions_true is not None for score in scores)
    return {
        "cases": len(scores),
        "missed": sum(score.outcome == "missed" for score in scores),
        "false_alarms": sum(score.outcome == "false alarm" for score in scores),
        **describe(scores),
        "lesions": {name: sum(getattr(score, f"lesions_{name}") for score in scores) for name in LESIONS}
        if counted
        else None,
        WITHOUT: {"cases": len(measured), **describe(measured)},
    }
