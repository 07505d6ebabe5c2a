"""The box that holds the patient, from the intensities alone; a label has no part in it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from semicml_tf.geometry.box import bounding_box
from semicml_tf.geometry.grid import Grid

# Kept round the body, so that networks also learn what its surface and the air look like.
MARGIN_MM = 10.0

# Between air (-1000 HU) and fat (-100 HU), the lightest tissue of a surface; half a voxel of skin lies above it.
BODY_HU = -500.0
# Below what cold tissue takes up (0.2 to 0.5), above what reconstruction leaves in the air (0.01 to 0.1). Noise that
# is counted makes a box too large, which costs memory; tissue that is missed could cost a lesion: hence the lower end.
BODY_SUV = 0.1


def body_mask(volume: np.ndarray, kind: str) -> np.ndarray:
    """Voxels that are no background by their own value, bool, of the shape of `volume`.

    Args:
        volume: in native units, of any shape.
        kind: of `normalisation.Normalisation`: ``hu``, ``suv`` or ``percentile``.
    """
    if kind == "hu":
        return volume > BODY_HU
    if kind == "suv":
        return volume > BODY_SUV
    return volume != 0


def body_box(volume: np.ndarray, kind: str) -> tuple[slice, slice, slice] | None:
    """The smallest box that holds the body.

    Noise in the air is not followed: where there is a unit (``hu``, ``suv``), a voxel counts if a block of 2 x 2 x 2
    around it is all above the threshold. MR has no unit: what is not exactly 0 counts, so that a noisy background
    gives the whole volume.

    Args:
        volume: 3-D, in native units.
        kind: of `normalisation.Normalisation`.

    Returns:
        Slices into `volume`, or None where no voxel counts.
    """
    mask = body_mask(volume, kind)
    blocks = None if kind == "percentile" else bounding_box(_blocks(mask))
    if blocks is None:
        return bounding_box(mask)
    # A block begins at a set voxel and ends one voxel later.
    return tuple(slice(side.start, side.stop + min(size, 2) - 1) for side, size in zip(blocks, mask.shape))


def _blocks(mask: np.ndarray) -> np.ndarray:
    """Where blocks of 2 x 2 x 2 set voxels begin; along an axis of one voxel, a block has one."""
    for axis, size in enumerate(mask.shape):
        if size > 1:
            ahead, behind = [slice(None)] * 3, [slice(None)] * 3
            ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
            mask = mask[tuple(behind)] & mask[tuple(ahead)]
    return mask


def kept(volumes: Mapping[str, np.ndarray], kinds: Mapping[str, str], grid: Grid) -> tuple[slice, slice, slice]:
    """The part of a grid that training and prediction look at: what is body in any image, and a margin.

    Args:
        volumes: by modality name, in native units, on `grid`.
        kinds: of each one's `normalisation.Normalisation`.
        grid: in slice, row, column order.

    Returns:
        Slices with explicit ends into `grid`; all of it where no image shows a body.
    """
    boxes = [box for box in (body_box(volume, kinds[name]) for name, volume in volumes.items()) if box is not None]
    if not boxes:
        return tuple(slice(0, size) for size in grid.shape)
    sides = []
    for axis, (size, spacing) in enumerate(zip(grid.shape, grid.spacing_mm)):
        margin = round(MARGIN_MM / spacing)
        start, stop = min(box[axis].start for box in boxes), max(box[axis].stop for box in boxes)
        sides.append(slice(max(start - margin, 0), min(stop + margin, size)))
    return tuple(sides)
