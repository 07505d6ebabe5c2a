"""All scores of one patient and one method."""

from __future__ import annotations

import dataclasses

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
    """Scores a predicted mask; empty masks as `catalogue.POLICY` says.

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
