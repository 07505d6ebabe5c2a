"""One patient's scores of two masks on the patient's own grid: overlap, surfaces in mm, lesions, volume."""

from __future__ import annotations

import dataclasses

import numpy as np

from semicml_tf.evaluation import lesions, surfaces
from semicml_tf.geometry.box import bounding_box
from semicml_tf.geometry.grid import Grid
from semicml_tf.inference.agreement import dice_from_counts

HD95_PERCENT = 95
SURFACE_TOLERANCE_MM = 2.0

# What each number means where a mask is empty. Goes into every report: a miss must never look perfect.
# Reports can stand in one table if they say the same under the keys that both have: a new definition needs new words.
POLICY = {
    "both empty": "DSC 1, HD95 and ASSD 0 mm; PPV and sensitivity undefined",
    "missed": "truth without prediction: DSC, PPV and sensitivity 0, HD95 and ASSD the volume's diagonal in mm",
    "false alarm": "prediction without truth: DSC and PPV 0, HD95 and ASSD the diagonal in mm, sensitivity undefined",
    "undefined": "null; left out of mean and sd, whose n then is less than the number of cases. PPV is undefined only "
    "where there is rightly no prediction, sensitivity only where there is no truth: neither can hide a miss",
    "hd95": "the larger one of the two directed 95th percentiles of surface distances, weighted by surface area",
    "assd": "mean distance over all elements of both surfaces, weighted by surface area",
    "sd": "sample standard deviation over patients (n - 1)",
    "further measures of empty masks": "IoU and surface DSC 1 where both are empty, 0 where one is; every lesion of a "
    "missed patient is missed, every one of a false alarm is false",
    "surface_dice": "share of both surfaces' area that lies within the tolerance of the other surface",
    "volume_error": "prediction less truth, in ml and as a share of the truth's volume; the share is undefined without "
    "truth",
    "lesions": "connected components (26 neighbours); a lesion of the truth is found if one of its voxels is "
    "predicted, a predicted one is false if none of its voxels is true",
    "without_missed_and_false_alarms": "the same means over the patients in whom both masks are present or both empty; "
    "all other means count a missed patient and a false alarm as said above",
}


@dataclasses.dataclass(frozen=True)
class CaseScore:
    """Scores of one patient and one method.

    Attributes:
        case_id: name of the case.
        outcome: ``both present``, ``both empty``, ``missed`` or ``false alarm``.
        dice: 0 to 1.
        ppv: positive predictive value, 0 to 1; None where undefined.
        sensitivity: 0 to 1; None where undefined.
        hd95_mm: 95th percentile of the surface distances.
        assd_mm: average symmetric surface distance.
        truth_ml: volume of the annotator's mask.
        prediction_ml: volume of the predicted mask.
        iou: 0 to 1. This and what follows is None in scores from reports of version 1, which lack it.
        surface_dice: 0 to 1, at the tolerance that the report states.
        volume_error_ml: prediction less truth.
        volume_error_relative: the same over the truth's volume; None without truth.
        lesions_true, lesions_predicted, lesions_found, lesions_missed, lesions_false: as in `lesions.Lesions`.
    """

    case_id: str
    outcome: str
    dice: float
    ppv: float | None
    sensitivity: float | None
    hd95_mm: float
    assd_mm: float
    truth_ml: float
    prediction_ml: float
    iou: float | None = None
    surface_dice: float | None = None
    volume_error_ml: float | None = None
    volume_error_relative: float | None = None
    lesions_true: int | None = None
    lesions_predicted: int | None = None
    lesions_found: int | None = None
    lesions_missed: int | None = None
    lesions_false: int | None = None


@dataclasses.dataclass(frozen=True)
class SurfaceScore:
    """What the distances of two surfaces come to.

    Attributes:
        hd95_mm: the larger directed 95th percentile.
        assd_mm: average symmetric surface distance.
        dice: surface DSC at a tolerance (Nikolov et al. 2018, arXiv 1809.04430).
    """

    hd95_mm: float
    assd_mm: float
    dice: float


def surface_score(
    prediction: np.ndarray,
    truth: np.ndarray,
    spacing_mm: tuple[float, float, float],
    tolerance_mm: float = SURFACE_TOLERANCE_MM,
) -> SurfaceScore:
    """HD95, ASSD and surface DSC of two masks, neither empty, as google-deepmind/surface-distance defines them.

    Args:
        prediction, truth: (i, j, k), nonzero is foreground. A mask that touches the volume's border ends there.
        spacing_mm: distance of voxels along i, j, k. Axes are taken as perpendicular.
        tolerance_mm: up to here, two surfaces count as one.
    """
    import surface_distance

    found = surfaces.surface_distances(prediction != 0, truth != 0, spacing_mm)
    return SurfaceScore(
        float(surface_distance.compute_robust_hausdorff(found, HD95_PERCENT)),
        surfaces.pooled_mean_mm(found),
        float(surface_distance.compute_surface_dice_at_tolerance(found, tolerance_mm)),
    )


def score(
    case_id: str,
    prediction: np.ndarray,
    truth: np.ndarray,
    grid: Grid,
    *,
    surface_tolerance_mm: float = SURFACE_TOLERANCE_MM,
) -> CaseScore:
    """Scores a predicted mask; empty masks as `POLICY` says.

    Args:
        prediction, truth: of ``grid.shape``, nonzero is foreground.
        grid: the patient's own.
        surface_tolerance_mm: of the surface DSC.
    """
    if prediction.shape != grid.shape or truth.shape != grid.shape:
        raise ValueError(f"expected masks of shape {grid.shape}, got {prediction.shape} and {truth.shape}")
    prediction, truth = prediction != 0, truth != 0
    box = bounding_box(prediction | truth)
    if box is not None:  # there is nothing to count outside the joint box
        prediction, truth = prediction[box], truth[box]
    predicted, true, hits = (int(np.count_nonzero(mask)) for mask in (prediction, truth, prediction & truth))
    if predicted and true:
        outcome = "both present"
        surface = surface_score(prediction, truth, grid.spacing_mm, surface_tolerance_mm)
    elif not predicted and not true:
        outcome, surface = "both empty", SurfaceScore(0.0, 0.0, 1.0)
    else:
        outcome = "missed" if true else "false alarm"
        surface = SurfaceScore(grid.diagonal_mm, grid.diagonal_mm, 0.0)
    components = lesions.count(prediction, truth)
    error = predicted - true
    return CaseScore(
        case_id=case_id,
        outcome=outcome,
        dice=float(dice_from_counts(hits, predicted, true)),
        ppv=hits / predicted if predicted else (0.0 if true else None),
        sensitivity=hits / true if true else None,
        hd95_mm=surface.hd95_mm,
        assd_mm=surface.assd_mm,
        truth_ml=true * grid.voxel_volume_ml,
        prediction_ml=predicted * grid.voxel_volume_ml,
        iou=hits / (predicted + true - hits) if predicted or true else 1.0,
        surface_dice=surface.dice,
        volume_error_ml=error * grid.voxel_volume_ml,
        volume_error_relative=error / true if true else None,
        lesions_true=components.true,
        lesions_predicted=components.predicted,
        lesions_found=components.found,
        lesions_missed=components.missed,
        lesions_false=components.false,
    )
