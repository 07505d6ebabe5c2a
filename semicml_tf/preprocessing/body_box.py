"""The bounding box of the patient's body, computed from intensities alone, without labels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from semicml_tf.geometry.box import bounding_box
from semicml_tf.geometry.grid import Grid

# Margin around the body, so that networks also see its surface and the air.
MARGIN_MM = 10.0

# Between air (-1000 HU) and fat (-100 HU), the lightest tissue at the surface. A voxel that is half skin is above it.
BODY_HU = -500.0
# Below the uptake of cold tissue (SUV 0.2 to 0.5), and at the upper end of reconstruction noise in the air (0.01 to
# 0.1). A higher threshold could cut off a lesion; a lower one includes noise, which only costs memory.
BODY_SUV = 0.1


def body_mask(volume: np.ndarray, kind: str) -> np.ndarray:
    """The voxels above the threshold of the body: bool, of the shape of `volume`.

    Args:
        volume: values in native units, of any shape.
        kind: kind of a `normalisation.Normalisation`: ``hu``, ``suv`` or ``percentile``.
    """
    if kind == "hu":
        return volume > BODY_HU
    if kind == "suv":
        return volume > BODY_SUV
    return volume != 0


def body_box(volume: np.ndarray, kind: str) -> tuple[slice, slice, slice] | None:
    """The bounding box of the body.

    For ``hu`` and ``suv``, isolated noise in the air is ignored: a voxel counts if it is in a block of 2 x 2 x 2 voxels
    above the threshold. Without such a block, all voxels above the threshold count. For ``percentile`` (MR has no
    unit), all voxels that are not exactly 0 count, so that a noisy background gives the whole volume.

    Args:
        volume: 3-D, in native units.
        kind: kind of a `normalisation.Normalisation`.

    Returns:
        Slices into `volume`, or None if no voxel counts.
    """
    mask = body_mask(volume, kind)
    blocks = None if kind == "percentile" else bounding_box(_blocks(mask))
    if blocks is None:
        return bounding_box(mask)
    # A block begins at a set voxel and ends one voxel later.
    return tuple(slice(side.start, side.stop + min(size, 2) - 1) for side, size in zip(blocks, mask.shape))


def _blocks(mask: np.ndarray) -> np.ndarray:
    """Marks the first voxel of each block of 2 x 2 x 2 set voxels. Along an axis of one voxel, a block has one."""
    for axis, size in enumerate(mask.shape):
        if size > 1:
            ahead, behind = [slice(None)] * 3, [slice(None)] * 3
            ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
            mask = mask[tuple(behind)] & mask[tuple(ahead)]
    return mask


def kept(volumes: Mapping[str, np.ndarray], kinds: Mapping[str, str], grid: Grid) -> tuple[slice, slice, slice]:
    """The box of a grid that training and prediction use: the body's bounding box over all images, with a margin.

    Args:
        volumes: by modality name, values in native units on `grid`.
        kinds: by modality name, kind of the `normalisation.Normalisation`.
        grid: a grid in slice, row, column order.

    Returns:
        Slices with explicit ends into `grid`; the whole grid if no image shows a body.
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
