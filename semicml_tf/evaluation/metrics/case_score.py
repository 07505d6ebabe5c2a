"""All scores of one patient and one method."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from semicml_tf.evaluation.metrics.catalogue import FURTHER, MAIN, METRICS
from semicml_tf.evaluation.metrics.masks import SURFACE_TOLERANCE_MM, MaskPair
from semicml_tf.geometry.grid import Grid

LESIONS = ("true", "predicted", "found", "missed", "false")


def _fields():
    yield "case_id", str
    yield "outcome", str
    for name in MAIN:
        yield name, float if METRICS[name].always_defined else float | None
    yield "truth_ml", float
    yield "prediction_ml", float
    # Reports of an earlier version lack these.
    for name in FURTHER:
        yield name, float | None, None
    for name in LESIONS:
        yield f"lesions_{name}", int | None, None


CaseScore = dataclasses.make_dataclass("CaseScore", _fields(), frozen=True)
CaseScore.__module__ = __name__
CaseScore.__doc__ = """Scores of one patient and one method.

Attributes:
    case_id: name of the case.
    outcome: see `MaskPair.outcome`.
    truth_ml, prediction_ml: volumes of the two masks.
    lesions_true, lesions_predicted, lesions_found, lesions_missed, lesions_false: as in `masks.Lesions`; None in
        scores of a report that lacks them.

    One attribute per metric of the catalogue. It is None where the metric is undefined, and further metrics are None in
    scores of a report that lacks them.
"""


def score(
    case_id: str,
    prediction: np.ndarray,
    truth: np.ndarray,
    grid: Grid,
    *,
    surface_tolerance_mm: float = SURFACE_TOLERANCE_MM,
) -> CaseScore:
    """Scores a predicted mask. `catalogue.POLICY` defines the scores of empty masks.

    Args:
        prediction, truth: of ``grid.shape``, nonzero is foreground.
        grid: the patient's own.
        surface_tolerance_mm: of the surface DSC.

    Raises:
        ValueError: a mask has another shape.
    """
    masks = MaskPair.of(prediction, truth, grid, surface_tolerance_mm)
    return CaseScore(
        case_id=case_id,
        outcome=masks.outcome,
        truth_ml=masks.true * grid.voxel_volume_ml,
        prediction_ml=masks.predicted * grid.voxel_volume_ml,
        **{name: metric.compute(masks) for name, metric in METRICS.items()},
        **{f"lesions_{name}": getattr(masks.lesions, name) for name in LESIONS},
    )


# Several classes or repeats have the first of these outcomes that any of them has.
_WORST_FIRST = ("missed", "false alarm", "both present", "both empty")


def mean_over_classes(scores: Sequence[CaseScore]) -> CaseScore:
    """One patient's scores over all classes.

    Numbers are means over the classes with a defined number, lesions are sums. The outcome is ``missed`` if any class
    was missed, else ``false alarm`` if any class has one.

    Args:
        scores: of one patient and one method, one for each class.
    """
    if len(scores) == 1:
        return scores[0]

    def mean(name: str) -> float | None:
        values = [value for value in (getattr(score, name) for score in scores) if value is not None]
        return math.fsum(values) / len(values) if values else None

    def total(name: str) -> int | None:
        values = [getattr(score, f"lesions_{name}") for score in scores]
        return None if None in values else sum(values)

    outcomes = {score.outcome for score in scores}
    return CaseScore(
        case_id=scores[0].case_id,
        outcome=next(outcome for outcome in _WORST_FIRST if outcome in outcomes),
        **{name: mean(name) for name in ("truth_ml", "prediction_ml", *METRICS)},
        **{f"lesions_{name}": total(name) for name in LESIONS},
    )
