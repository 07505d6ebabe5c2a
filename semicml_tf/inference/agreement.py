"""How far two masks agree: the one definition that training's validation and evaluation share."""

from __future__ import annotations

import numpy as np


def dice_from_counts(overlap, first, second):
    """DSC = 2 |A and B| / (|A| + |B|) from voxel counts (numbers or arrays of one shape); 1 where both are empty.

    Source: Dice 1945, doi 10.2307/1932409.
    """
    overlap, total = np.asarray(overlap, np.float64), np.asarray(first, np.float64) + np.asarray(second, np.float64)
    return np.where(total == 0, 1.0, 2.0 * overlap / np.where(total == 0, 1.0, total))


def dice(mask_a: np.ndarray, mask_b: np.ndarray) -> float:
    """DSC of two masks of one shape; everything but 0 is foreground.

    Returns:
        From 0 (no voxel in common) to 1 (identical, or both empty).
    """
    if mask_a.shape != mask_b.shape:
        raise ValueError(f"expected masks of one shape, got {mask_a.shape} and {mask_b.shape}")
    a, b = np.asarray(mask_a) != 0, np.asarray(mask_b) != 0
    return float(dice_from_counts(np.count_nonzero(a & b), np.count_nonzero(a), np.count_nonzero(b)))
