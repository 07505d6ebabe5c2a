"""Calibration of soft labels, and the share of the lesion that they keep.

Voxels are counted patient by patient (`tally`). All measures are computed from the sum of the counts (`measures`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from semicml_tf.inference.agreement import dice_from_counts

BINS = 10
# Labels outside this range are nearly certain: most of a volume is easy background.
UNSURE = (0.05, 0.95)
# From here on a soft label is foreground.
CUT = 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class Bins:
    """Voxels by their label q: bin b contains ``b / BINS <= q < (b + 1) / BINS``; the last bin also contains q = 1.

    Attributes:
        count: voxels, (BINS,) float64.
        label: sum of q, (BINS,) float64.
        truth: voxels that are foreground in truth, (BINS,) float64.
    """

    count: np.ndarray
    label: np.ndarray
    truth: np.ndarray

    def __add__(self, other: Bins) -> Bins:
        return Bins(self.count + other.count, self.label + other.label, self.truth + other.truth)


def binned(q: np.ndarray, truth: np.ndarray) -> Bins:
    """Bins of voxels; `q` in [0, 1] and `truth` (0 or 1) are of one shape."""
    q, truth = np.ravel(q).astype(np.float64), np.ravel(truth).astype(np.float64)
    index = np.minimum((q * BINS).astype(np.int64), BINS - 1)
    return Bins(*(np.bincount(index, weights, BINS).astype(np.float64) for weights in (None, q, truth)))


def reliability(bins: Bins) -> list[dict]:
    """A reliability diagram: ``low``, ``high``, ``count``, ``mean_label``, ``observed`` (share of truth) by bin.

    The last two are None where a bin is empty.
    """
    rows = []
    for number, (count, label, truth) in enumerate(zip(bins.count, bins.label, bins.truth)):
        is_filled = count > 0
        rows.append(
            {
                "low": number / BINS,
                "high": (number + 1) / BINS,
                "count": int(count),
                "mean_label": float(label / count) if is_filled else None,
                "observed": float(truth / count) if is_filled else None,
            }
        )
    return rows


def expected_calibration_error(bins: Bins) -> float | None:
    """``ECE = sum_b count_b / N |mean q_b - observed_b|``; None without voxels.

    Source: Naeini et al. 2015, "Obtaining well calibrated probabilities using Bayesian binning".
    """
    total = bins.count.sum()
    return float(np.abs(bins.label - bins.truth).sum() / total) if total else None


@dataclasses.dataclass(frozen=True, eq=False)
class Tally:
    """Counts of voxels.

    Attributes:
        bins: of all voxels.
        unsure: of the voxels with q strictly within `UNSURE`.
        squared: sum of (q - truth)^2.
        drawn: voxels with q >= `CUT`.
        hits: drawn voxels that are foreground in truth.
        mass_inside: sum of q where there is foreground in truth.
    """

    bins: Bins
    unsure: Bins
    squared: float
    drawn: int
    hits: int
    mass_inside: float

    @property
    def true(self) -> float:
        """Voxels that are foreground in truth."""
        return float(self.bins.truth.sum())

    @property
    def dice(self) -> float:
        """DSC of q >= `CUT`; 1 if both masks are empty."""
        return float(dice_from_counts(self.hits, self.drawn, self.true))

    def __add__(self, other: Tally) -> Tally:
        pairs = ((getattr(self, field.name), getattr(other, field.name)) for field in dataclasses.fields(self))
        return Tally(*(first + second for first, second in pairs))


def tally(q: np.ndarray, truth: np.ndarray, ignored: np.ndarray | None = None) -> Tally:
    """Counts one patient.

    Args:
        q: soft label, (slices, rows, columns) in [0, 1].
        truth: label map of the same shape; nonzero is foreground.
        ignored: bool of the same shape: voxels that are not counted.
    """
    if q.shape != truth.shape:
        raise ValueError(f"expected a label and a truth of one shape, got {q.shape} and {truth.shape}")
    if ignored is not None:
        q, truth = q[~ignored], truth[~ignored]
    q, inside = q.astype(np.float64), truth != 0
    unsure, drawn = (q > UNSURE[0]) & (q < UNSURE[1]), q >= CUT
    return Tally(
        bins=binned(q, inside),
        unsure=binned(q[unsure], inside[unsure]),
        squared=float(((q - inside) ** 2).sum()),
        drawn=int(np.count_nonzero(drawn)),
        hits=int(np.count_nonzero(drawn & inside)),
        mass_inside=float(q[inside].sum()),
    )


def measures(patients: Sequence[Tally]) -> dict:
    """All numbers of a soft label, over all patients' voxels together; DSC is a mean over patients with a lesion.

    Returns:
        ``patients``; ``reliability`` (as `reliability`); ``ece`` over all voxels; ``ece_unsure`` over the voxels within
        `UNSURE`, and their number ``unsure``; ``brier``, the mean of (q - truth)^2; ``kept``, the share of true
        foreground with q >= `CUT`; ``mass_kept``, the mean of q in true foreground; ``ppv`` and mean ``dice`` of
        q >= `CUT`; ``dice_patients``, the number of patients in ``dice``. Undefined numbers are None.
    """
    if not patients:
        raise ValueError("expected at least one patient")
    whole = patients[0]
    for patient in patients[1:]:
        whole = whole + patient
    scores = [patient.dice for patient in patients if patient.true]
    return {
        "patients": len(patients),
        "reliability": reliability(whole.bins),
        "ece": expected_calibration_error(whole.bins),
        "ece_unsure": expected_calibration_error(whole.unsure),
        "unsure": int(whole.unsure.count.sum()),
        "brier": whole.squared / float(whole.bins.count.sum()),
        "kept": whole.hits / whole.true if whole.true else None,
        "mass_kept": whole.mass_inside / whole.true if whole.true else None,
        "ppv": whole.hits / whole.drawn if whole.drawn else None,
        "dice": float(np.mean(scores)) if scores else None,
        "dice_patients": len(scores),
    }
