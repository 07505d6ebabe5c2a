"""The check of a binary mask, for code that would turn every other value into foreground."""

from __future__ import annotations

import numpy as np


def binary(mask: np.ndarray, what: str = "a mask") -> np.ndarray:
    """A mask as uint8 0/1; no copy where the type is bool or uint8.

    Args:
        mask: of any shape and numeric type; all values are 0 or 1.
        what: names the mask in the error.

    Raises:
        ValueError: a value is neither 0 nor 1. The caller chooses the foreground before.
    """
    mask = np.asarray(mask)
    if mask.dtype == bool:
        return mask.view(np.uint8)
    # A label map costs one pass, without a temporary array of its size.
    known = mask.size == 0 or (mask.max() <= 1 if mask.dtype == np.uint8 else bool(((mask == 0) | (mask == 1)).all()))
    if not known:
        others = ", ".join(f"{value:g}" for value in np.unique(mask[(mask != 0) & (mask != 1)])[:5])
        raise ValueError(f"expected {what} of the values 0 and 1, got also {others}")
    return mask.astype(np.uint8, copy=False)
