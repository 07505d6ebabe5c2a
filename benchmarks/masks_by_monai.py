"""MONAI's side of `benchmarks.metric_references` and `benchmarks.metrics_speed`. Its Python does not have this package.

``masks_by_monai.py values PAIRS.npz`` prints the measures of each pair as JSON.
``masks_by_monai.py speed MASKS.npz...`` is a competitor. For each line of its input, it repeats HD95 and Dice of all
files, and prints the seconds.
"""

from __future__ import annotations

import json
import sys
import warnings

import monai
import numpy as np
import torch
from monai.metrics import (
    compute_average_surface_distance,
    compute_confusion_matrix_metric,
    compute_dice,
    compute_hausdorff_distance,
    compute_iou,
    compute_surface_dice,
    get_confusion_matrix,
)
from monai.metrics.utils import get_edge_surface_distance
from on_request import repeat_on_request

warnings.simplefilter("ignore")


def _batch(mask: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(mask[None, None].astype(np.float32))


def _percentile(distances: np.ndarray, areas: np.ndarray, percent: float) -> float:
    """The smallest distance within which `percent` of the area lies."""
    order = np.lexsort((areas, distances))
    reached = np.cumsum(areas[order]) / np.sum(areas)
    return float(distances[order][min(np.searchsorted(reached, percent / 100), len(order) - 1)])


def _subvoxel(prediction: torch.Tensor, truth: torch.Tensor, spacing_mm: list[float]) -> dict[str, float]:
    """Area-weighted percentile and mean of MONAI's distances between marching-cubes elements."""
    edges, distances, areas = get_edge_surface_distance(
        prediction[0, 0], truth[0, 0], spacing=spacing_mm, use_subvoxels=True, symmetric=True
    )
    distances = [one.double().numpy() for one in distances]
    areas = [one[edge].double().numpy() for one, edge in zip(areas, edges)]
    weighted = sum(float(np.dot(*both)) for both in zip(distances, areas))
    return {
        "hd95_mm": max(_percentile(*both, 95) for both in zip(distances, areas)),
        "assd_mm": weighted / sum(float(one.sum()) for one in areas),
        "hd_max_mm": max(float(one.max()) for one in distances),
    }


def values(prediction: np.ndarray, truth: np.ndarray, spacing_mm: list[float], tolerance_mm: float) -> dict:
    """MONAI's measures of a pair. Surface measures need two masks that are not empty."""
    p, t = _batch(prediction), _batch(truth)
    counts = get_confusion_matrix(p, t)
    found = {
        "dice": compute_dice(p, t, ignore_empty=False).item(),
        "iou": compute_iou(p, t, ignore_empty=False).item(),
        "ppv": compute_confusion_matrix_metric("precision", counts).item(),
        "sensitivity": compute_confusion_matrix_metric("sensitivity", counts).item(),
    }
    if prediction.any() and truth.any():
        how = {"include_background": True, "spacing": spacing_mm}
        found |= _subvoxel(p, t, spacing_mm)
        found |= {
            "surface_dice": compute_surface_dice(p, t, [tolerance_mm], use_subvoxels=True, **how).item(),
            "voxels_hd_max_mm": compute_hausdorff_distance(p, t, **how).item(),
            "voxels_hd95_mm": compute_hausdorff_distance(p, t, percentile=95, **how).item(),
            "voxels_assd_mm": compute_average_surface_distance(p, t, symmetric=True, **how).item(),
            "voxels_surface_dice": compute_surface_dice(p, t, [tolerance_mm], **how).item(),
        }
    return found


def _print_values(path: str) -> None:
    held = np.load(path)
    tolerance_mm = float(held["tolerance_mm"])
    rows = [
        values(held[f"prediction{index}"], held[f"truth{index}"], held[f"spacing{index}"].tolist(), tolerance_mm)
        for index in range(int(held["count"]))
    ]
    print(json.dumps({"versions": {"monai": monai.__version__, "torch": torch.__version__}, "values": rows}))


def _compete(paths: list[str]) -> None:
    cases = []
    for path in paths:
        held = np.load(path)
        masks = (torch.from_numpy(held[name][None, None]) for name in ("prediction", "truth"))
        cases.append((*masks, held["spacing_mm"].tolist()))

    def measure():
        for prediction, truth, spacing_mm in cases:
            compute_hausdorff_distance(prediction, truth, include_background=True, percentile=95, spacing=spacing_mm)
            compute_dice(prediction, truth)

    measure()
    repeat_on_request({"engine": f"MONAI {monai.__version__}, PyTorch {torch.__version__}"}, measure)


if __name__ == "__main__":
    if sys.argv[1] == "values":
        _print_values(sys.argv[2])
    else:
        _compete(sys.argv[2:])
