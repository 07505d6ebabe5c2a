"""One patient's scores: DSC, PPV, sensitivity, HD95 and ASSD of two masks on the patient's own grid."""

from __future__ import annotations

import dataclasses

import numpy as np

from semicml_tf.geometry.grid import Grid
from semicml_tf.inference.agreement import dice

HD95_PERCENT = 95

# What each number means where a mask is empty. Goes into every report: a miss must never look perfect.
POLICY = {
    "both empty": "DSC 1, HD95 and ASSD 0 mm; PPV and sensitivity undefined",
    "missed": "truth without prediction: DSC, PPV and sensitivity 0, HD95 and ASSD the volume's diagonal in mm",
    "false alarm": "prediction without truth: DSC and PPV 0, HD95 and ASSD the diagonal in mm, sensitivity undefined",
    "undefined": "null; left out of mean and sd, whose n then is less than the number of cases. PPV is undefined only "
    "where there is rightly no prediction, sensitivity only where there is no truth: neither can hide a miss",
    "hd95": "the larger one of the two directed 95th percentiles of surface distances, weighted by surface area",
    "assd": "mean distance over all elements of both surfaces, weighted by surface area",
    "sd": "sample standard deviation over patients (n - 1)",
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


def surface_distances_mm(
    prediction: np.ndarray, truth: np.ndarray, spacing_mm: tuple[float, float, float]
) -> tuple[float, float]:
    """HD95 and ASSD of two masks, neither empty, by google-deepmind/surface-distance.

    Surfaces are those of marching cubes; a mask that touches the volume's border ends there. The library
    looks at the masks' joint bounding box alone: every surface element lies in it, so the voxels that it
    leaves out change no distance.

    Args:
        prediction, truth: (i, j, k), nonzero is foreground.
        spacing_mm: distance of voxels along i, j, k. Axes are taken as perpendicular.
    """
    import surface_distance

    found = surface_distance.compute_surface_distances(truth != 0, prediction != 0, spacing_mm)
    hd95 = surface_distance.compute_robust_hausdorff(found, HD95_PERCENT)
    # Heimann et al. 2009, doi 10.1109/TMI.2009.2013851: both surfaces pooled, not the mean of two means.
    distances = np.concatenate([found["distances_gt_to_pred"], found["distances_pred_to_gt"]])
    areas = np.concatenate([found["surfel_areas_gt"], found["surfel_areas_pred"]])
    return float(hd95), float(np.sum(distances * areas) / np.sum(areas))


def score(case_id: str, prediction: np.ndarray, truth: np.ndarray, grid: Grid) -> CaseScore:
    """Scores a predicted mask; empty masks as `POLICY` says.

    Args:
        prediction, truth: of ``grid.shape``, nonzero is foreground.
        grid: the patient's own.
    """
    if prediction.shape != grid.shape or truth.shape != grid.shape:
        raise ValueError(f"expected masks of shape {grid.shape}, got {prediction.shape} and {truth.shape}")
    predicted, true = (int(np.count_nonzero(mask)) for mask in (prediction, truth))
    hits = int(np.count_nonzero((prediction != 0) & (truth != 0)))
    if predicted and true:
        outcome = "both present"
        hd95_mm, assd_mm = surface_distances_mm(prediction, truth, grid.spacing_mm)
    elif not predicted and not true:
        outcome, hd95_mm, assd_mm = "both empty", 0.0, 0.0
    else:
        outcome = "missed" if true else "false alarm"
        hd95_mm = assd_mm = grid.diagonal_mm
    return CaseScore(
        case_id=case_id,
        outcome=outcome,
        dice=dice(prediction, truth),
        ppv=hits / predicted if predicted else (0.0 if true else None),
        sensitivity=hits / true if true else None,
        hd95_mm=hd95_mm,
        assd_mm=assd_mm,
        truth_ml=true * grid.voxel_volume_ml,
        prediction_ml=predicted * grid.voxel_volume_ml,
    )
