"""Overlapping patches of one size that cover a volume, with Gaussian weights whose sum is 1 at each voxel.

After nnU-Net (Isensee et al. 2021, doi 10.1038/s41592-020-01008-z) and MONAI's `SlidingWindowInferer`. The weight of a
voxel is a product over the axes, and so is the sum of the weights over the grid of patches. Each axis is therefore
normalised by itself.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from semicml_tf.geometry.patch import mirrored

# The share of a patch that neighbouring patches have in common, at least; and sigma as a fraction of a patch's side.
OVERLAP, SIGMA = 0.5, 0.125


@dataclasses.dataclass(frozen=True)
class Interval:
    """The places of one patch on one axis of a volume.

    Attributes:
        places: numbers of the voxels that it reads; beyond the ends of the axis its mirror image continues.
        inside: its part within the volume.
        target: the same part in the volume.
        weight: float32 of each voxel of `inside`. The weights of all intervals have the sum 1 at each place.
    """

    places: np.ndarray
    inside: slice
    target: slice
    weight: np.ndarray


def intervals(size: int, side: int, overlap: float = OVERLAP) -> tuple[Interval, ...]:
    """Evenly spread patches of a side that cover an axis. A shorter axis lies in the middle of its only patch."""
    if size <= side:
        starts = [-((side - size) // 2)]
    else:
        count = 1 + int(np.ceil((size - side) / max((1 - overlap) * side, 1.0)))
        starts = [int(round(start)) for start in np.linspace(0, size - side, count)]
    gaussian = np.exp(-0.5 * ((np.arange(side) - (side - 1) / 2) / (SIGMA * side)) ** 2)
    total, made = np.zeros(size), []
    for start in starts:
        low, high = max(start, 0), min(start + side, size)
        inside, target = slice(low - start, high - start), slice(low, high)
        total[target] += gaussian[inside]
        made.append((mirrored(np.arange(start, start + side), size), inside, target))
    return tuple(
        Interval(places, inside, target, (gaussian[inside] / total[target]).astype(np.float32))
        for places, inside, target in made
    )
