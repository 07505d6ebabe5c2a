"""The box that holds the set voxels of a mask."""

from __future__ import annotations

import numpy as np


def bounding_box(mask: np.ndarray) -> tuple[slice, slice, slice] | None:
    """The smallest box that holds all set voxels of a 3-D mask; None where no voxel is set."""
    # One projection along the slowest axis of memory; the projected plane is small.
    slowest = int(np.argmax(np.abs(mask.strides)))
    plane = mask.any(axis=slowest)
    first, second = (axis for axis in range(3) if axis != slowest)
    profiles = {first: plane.any(axis=1), second: plane.any(axis=0), slowest: mask.any(axis=(first, second))}
    set_indices = [np.flatnonzero(profiles[axis]) for axis in range(3)]
    if not set_indices[0].size:
        return None
    return tuple(slice(int(indices[0]), int(indices[-1]) + 1) for indices in set_indices)
