"""SimpleITK's side of `benchmarks.metric_references`: the same numbers by its filters."""

from __future__ import annotations

import itertools

import numpy as np
import SimpleITK as sitk


def _image(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> sitk.Image:
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(spacing_mm[::-1])  # its axes run the other way
    return image


def _to_nearest(points: sitk.Image, others: sitk.Image) -> np.ndarray:
    """Distance in mm of each nonzero voxel of `points` to the nearest nonzero one of `others`."""
    # Outside an object the signed distance is that to the nearest of its voxels; on it, 0 or less.
    signed = sitk.SignedMaurerDistanceMap(others, squaredDistance=False, useImageSpacing=True)
    return np.maximum(sitk.GetArrayViewFromImage(signed)[sitk.GetArrayViewFromImage(points) != 0], 0.0)


def _contour(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> sitk.Image:
    """Foreground voxels that share a face with background; beyond the volume is background."""
    return sitk.LabelContour(sitk.ConstantPad(_image(mask, spacing_mm), (1,) * 3, (1,) * 3), fullyConnected=False)


def _corners(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> sitk.Image:
    """Corners of voxels around which some are foreground and some are not, as an image of corners."""
    padded = np.pad(mask, 1)
    around = [
        padded[tuple(slice(start, start + length - 1) for start, length in zip(starts, padded.shape))]
        for starts in itertools.product((0, 1), repeat=3)
    ]
    return _image(np.any(around, axis=0) & ~np.all(around, axis=0), spacing_mm)


def _lesions(prediction: np.ndarray, truth: np.ndarray, spacing_mm: tuple[float, float, float]) -> dict[str, int]:
    def components(mask, other):
        """How many components, and how many of them hold a voxel of the other mask."""
        labels = sitk.ConnectedComponent(_image(mask, spacing_mm), True)
        statistics = sitk.LabelStatisticsImageFilter()
        statistics.Execute(_image(other, spacing_mm), labels)
        held = [label for label in statistics.GetLabels() if label]
        return len(held), sum(statistics.GetMaximum(label) > 0 for label in held)

    true, found = components(truth, prediction)
    predicted, right = components(prediction, truth)
    return {
        "lesions_true": true,
        "lesions_predicted": predicted,
        "lesions_found": found,
        "lesions_missed": true - found,
        "lesions_false": predicted - right,
    }


def values(prediction: np.ndarray, truth: np.ndarray, spacing_mm: tuple[float, float, float]) -> dict:
    """SimpleITK's numbers of a pair; those of surfaces only where neither mask is empty, None where undefined.

    Args:
        prediction, truth: (i, j, k) of bool.
        spacing_mm: distance of voxels along i, j, k.
    """
    found = dict(_lesions(prediction, truth, spacing_mm))
    if prediction.any() or truth.any():
        overlap = sitk.LabelOverlapMeasuresImageFilter()
        # Source, then target, which is the truth.
        overlap.Execute(_image(prediction, spacing_mm), _image(truth, spacing_mm))
        found |= {
            "dice": overlap.GetDiceCoefficient(),
            "iou": overlap.GetJaccardCoefficient(),
            "ppv": 1 - overlap.GetFalseDiscoveryRate() if prediction.any() else None,
            "sensitivity": 1 - overlap.GetFalseNegativeError() if truth.any() else None,
        }
    for name, mask in (("prediction_ml", prediction), ("truth_ml", truth)):
        shapes = sitk.LabelShapeStatisticsImageFilter()
        shapes.Execute(_image(mask, spacing_mm))
        found[name] = shapes.GetPhysicalSize(1) / 1000 if mask.any() else 0.0
    if prediction.any() and truth.any():
        contours = [_contour(mask, spacing_mm) for mask in (prediction, truth)]
        corners = [_corners(mask, spacing_mm) for mask in (prediction, truth)]
        voxels, surfels = ([_to_nearest(*both), _to_nearest(*both[::-1])] for both in (contours, corners))
        found |= {
            "hd_max_mm": max(float(one.max()) for one in surfels),
            "voxels_hd_max_mm": max(float(one.max()) for one in voxels),
            "voxels_hd95_mm": max(float(np.percentile(one, 95)) for one in voxels),
            "voxels_assd_mm": float(np.concatenate(voxels).mean()),
        }
    return found
