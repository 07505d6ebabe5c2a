"""SimpleITK's side of `benchmarks.metric_references`: the same measures by its filters."""

from __future__ import annotations

import itertools

import numpy as np
import SimpleITK as sitk


def _image(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> sitk.Image:
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(spacing_mm[::-1])  # SimpleITK reverses the axes
    return image


def _to_nearest(points: sitk.Image, others: sitk.Image) -> np.ndarray:
    """Distance in mm of each nonzero voxel of `points` to the nearest nonzero one of `others`."""
    # Outside an object, the signed distance is the distance to its nearest voxel. On the object, it is 0 or less.
    signed = sitk.SignedMaurerDistanceMap(others, squaredDistance=False, useImageSpacing=True)
    return np.maximum(sitk.GetArrayViewFromImage(signed)[sitk.GetArrayViewFromImage(points) != 0], 0.0)


def _contour(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> sitk.Image:
    """Foreground voxels that share a face with the background. Voxels outside the volume are background."""
    return sitk.LabelContour(sitk.ConstantPad(_image(mask, spacing_mm), (1,) * 3, (1,) * 3), fullyConnected=False)


def _corners(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> sitk.Image:
    """Image of voxel corners: true where the adjacent voxels are partly foreground and partly background."""
    padded = np.pad(mask, 1)
    around = [
        padded[tuple(slice(start, start + length - 1) for start, length in zip(starts, padded.shape))]
        for starts in itertools.product((0, 1), repeat=3)
    ]
    return _image(np.any(around, axis=0) & ~np.all(around, axis=0), spacing_mm)


def _lesions(prediction: np.ndarray, truth: np.ndarray, spacing_mm: tuple[float, float, float]) -> dict[str, int]:
    def components(mask, other):
        """Number of components, and number of those that overlap the other mask."""
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
    """SimpleITK's measures of a pair, None where undefined. Surface measures need two masks that are not empty.

    Args:
        prediction: (i, j, k) of bool.
        truth: (i, j, k) of bool.
        spacing_mm: distance of voxels along i, j, k.
    """
    found = dict(_lesions(prediction, truth, spacing_mm))
    if prediction.any() or truth.any():
        overlap = sitk.LabelOverlapMeasuresImageFilter()
        # The order is source, then target. The target is the truth.
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
