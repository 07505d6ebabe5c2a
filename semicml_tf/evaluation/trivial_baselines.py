"""No-network baselines reported in every table: best ellipsoid, best intensity threshold.

A cropped field of view reveals the position of the lesion, and a threshold finds bright lesions. A network must score
higher than both baselines to show that it has learned more. Both are fitted on the labelled patients, on the network's
grid, for each class. The thresholds of all classes read the same modality.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.evaluation.segment import CaseSegmenter
from semicml_tf.geometry.grid import Grid
from semicml_tf.inference.agreement import dice_from_counts
from semicml_tf.labels import LESION
from semicml_tf.preprocessing.normalisation import Normalisation
from semicml_tf.records.case_record import CaseRecord

# In steps of 1 mm, up to half the largest field of view of a scanner.
_MARGINS_MM = np.arange(0.0, 400.0)
# In normalised units: windows end at 1, and z-scores are rarely above 10. A step of 0.005 is 1.25 HU or 0.04 SUV with
# the usual windows.
_THRESHOLDS = np.round(np.arange(-10.0, 10.0, 0.005), 3)

ELLIPSOID_NAME = "blind ellipsoid"


def threshold_name(modality: str) -> str:
    """Row name of the threshold on `modality`."""
    return f"{modality} threshold"


def _half_extent_mm(grid: Grid) -> np.ndarray:
    return np.array(grid.shape) * np.array(grid.spacing_mm) / 2


def ellipsoid(
    grid: Grid, margin_mm: float, *, offset: Sequence[int] = (0, 0, 0), shape: Sequence[int] | None = None
) -> np.ndarray:
    """The ellipsoid inscribed in the grid's box, each semi-axis shortened by `margin_mm`.

    Args:
        grid: the whole field of view.
        offset, shape: the part of the grid to fill. The default is the whole grid.

    Returns:
        bool of the part's shape: True for voxels whose centre lies inside. All are False if a semi-axis is 0 or less.
    """
    shape = grid.shape if shape is None else tuple(shape)
    semi_axes = _half_extent_mm(grid) - margin_mm
    if np.any(semi_axes <= 0):
        return np.zeros(shape, bool)
    terms = []
    for size, spacing, semi_axis, start, count in zip(grid.shape, grid.spacing_mm, semi_axes, offset, shape):
        terms.append(((start + np.arange(count) - (size - 1) / 2) * spacing / semi_axis) ** 2)
    return terms[0][:, None, None] + terms[1][None, :, None] + terms[2][None, None, :] <= 1.0


def _in_field_of_view(record: CaseRecord, margin_mm: float) -> np.ndarray:
    """The ellipsoid of the patient's whole field of view, on the crop of the record."""
    return ellipsoid(record.full_grid, margin_mm, offset=record.crop_offset, shape=record.grid.shape)


@dataclasses.dataclass(frozen=True)
class Ellipsoid:
    """The fitted ellipsoid of a class; maps a record to 0/1 on its network grid.

    Attributes:
        margin_mm: difference between half a side of the box and the semi-axis.
        labelled_dice: mean DSC of the labelled patients, on the network's grid.
    """

    margin_mm: float
    labelled_dice: float

    def __call__(self, record: CaseRecord) -> np.ndarray:
        return _in_field_of_view(record, self.margin_mm).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Threshold:
    """The fitted threshold of a class; maps a record to 0/1 on its network grid, or to None without the image.

    Attributes:
        modality: name of the image that is thresholded.
        normalised: threshold in normalised units; larger values are foreground.
        native: the threshold in `unit`.
        unit: ``SUV``, ``HU``, or ``z`` if each volume is normalised by its own values.
        labelled_dice: mean DSC of the labelled patients, on the network's grid.
    """

    modality: str
    normalised: float
    native: float
    unit: str
    labelled_dice: float

    def __call__(self, record: CaseRecord) -> np.ndarray | None:
        if self.modality not in record.images:
            return None
        return (record.images[self.modality].astype(np.float32) > self.normalised).astype(np.float32)


Fitted = Ellipsoid | Threshold


def segmenter(of_classes: Mapping[str, Fitted]) -> CaseSegmenter:
    """The segmenter of a row: the answer of each class, in their order."""

    def segment(record: CaseRecord) -> np.ndarray | None:
        answers = [fitted(record) for fitted in of_classes.values()]
        return None if any(answer is None for answer in answers) else np.stack(answers)

    return segment


def _valid(record: CaseRecord) -> np.ndarray | slice:
    """An index that drops ignored voxels."""
    ignored = record.labels.ignored(record.label)
    return ... if ignored is None else ~ignored


def _ellipsoid_dice(record: CaseRecord, label: np.ndarray) -> np.ndarray:
    """DSC of a mask at each of `_MARGINS_MM`."""
    label, valid = label != 0, _valid(record)
    overlap, size = np.zeros(len(_MARGINS_MM)), np.zeros(len(_MARGINS_MM))
    for index, margin in enumerate(_MARGINS_MM):
        if margin >= _half_extent_mm(record.full_grid).min():
            break  # empty from here on
        inside = _in_field_of_view(record, margin)
        overlap[index], size[index] = np.count_nonzero(inside & label), np.count_nonzero(inside[valid])
    return dice_from_counts(overlap, size, np.count_nonzero(label))


def _threshold_dice(image: np.ndarray, label: np.ndarray) -> np.ndarray:
    """DSC of `label` at each of `_THRESHOLDS`."""
    values, true = image.astype(np.float32), image[label != 0].astype(np.float32)
    above = values.size - np.searchsorted(np.sort(values, axis=None), _THRESHOLDS, side="right")
    hits = true.size - np.searchsorted(np.sort(true), _THRESHOLDS, side="right")
    return dice_from_counts(hits, above, true.size)


def _best(candidates: np.ndarray, mean_dice: np.ndarray) -> tuple[float, float]:
    """The candidate with the highest mean DSC; the middle candidate if neighbours have equal DSC."""
    best = np.flatnonzero(mean_dice >= mean_dice.max() - 1e-12)
    run = best[: np.argmax(np.append(np.diff(best) != 1, True)) + 1]
    return float(candidates[run[len(run) // 2]]), float(mean_dice.max())


def fit(labelled: Iterable[CaseRecord], normalisation: Mapping[str, Normalisation]) -> dict[str, dict[str, Fitted]]:
    """Fits both baselines by grid search, for the best mean DSC of the labelled patients who have the class.

    Patients without the class are not used, because one voxel decides whether they score 1 or 0. With a few such
    patients, the best baseline would be an empty mask.

    Args:
        labelled: records with labels, read once.
        normalisation: by modality name, as in `DatasetInfo`.

    Returns:
        By row name, then by class.

    Raises:
        UserError: no patient has a class.
    """
    margins: dict[str, list] = {}
    # By modality, then by class.
    thresholds: dict[str, dict[str, list]] = {name: {} for name in normalisation}
    constants = {}
    for record in labelled:
        for class_name in record.labels.names:
            rows = margins.setdefault(class_name, [])
            label = record.labels.mask(record.label, class_name)
            if not label.any():
                continue
            rows.append(_ellipsoid_dice(record, label))
            valid = _valid(record)
            for name in normalisation:
                if name in record.images:
                    dice = _threshold_dice(record.images[name][valid], label[valid])
                    thresholds[name].setdefault(class_name, []).append(dice)
                    constants[name] = record.constants[name]
    lacking = [class_name for class_name, rows in margins.items() if not rows]
    if lacking or not margins:
        what = "a lesion" if lacking in ([], [LESION]) else f"'{lacking[0]}'"
        raise UserError(f"expected a labelled patient with {what}", remedy="Add one to the partition 'labelled'")
    ellipsoids = {
        class_name: Ellipsoid(*_best(_MARGINS_MM, np.mean(rows, axis=0))) for class_name, rows in margins.items()
    }
    fitted = {
        name: {class_name: _best(_THRESHOLDS, np.mean(rows[class_name], axis=0)) for class_name in margins}
        for name, rows in thresholds.items()
        if set(rows) == set(margins)
    }
    if not fitted:
        raise UserError("expected a modality with labelled patients of every class", remedy="Label further patients")
    modality = max(fitted, key=lambda name: np.mean([dice for _, dice in fitted[name].values()]))
    kind = normalisation[modality].kind
    thresholds_by_class = {}
    for class_name, (normalised, dice) in fitted[modality].items():
        # With percentiles, constants differ between volumes. The only common unit is the z-score.
        native, unit = normalised, "z"
        if kind != "percentile":
            native, unit = normalised * constants[modality].scale + constants[modality].center, kind.upper()
        thresholds_by_class[class_name] = Threshold(modality, normalised, native, unit, dice)
    return {ELLIPSOID_NAME: ellipsoids, threshold_name(modality): thresholds_by_class}
