"""Strides of a network for patches, chosen from the patch and the spacing as nnU-Net plans them."""

from __future__ import annotations

from collections.abc import Sequence

# The shortest axis that a network divides down to.
LEAST_SIZE = 4


def strides(
    window: Sequence[int], spacing_mm: Sequence[float] | None = None, *, levels: int
) -> tuple[tuple[int, ...], ...]:
    """For each level but the last, the step to the next level along each axis.

    After `get_pool_and_conv_props` of nnU-Net (Isensee et al., Nature Methods 2021): an axis is divided while it stays
    at least `LEAST_SIZE` long, and where its voxels are less than twice as long as the shortest.

    Args:
        window: (slices, rows, columns) of the patch in voxels.
        spacing_mm: of its voxels; None, or 0 for an axis, stands for equal spacings.
        levels: the highest number of resolutions.

    Returns:
        At most ``levels - 1`` steps of 1 or 2 per axis.
    """
    sizes = list(window)
    spacing = list(spacing_mm) if spacing_mm and all(spacing_mm) else [1.0] * len(sizes)
    chosen: list[tuple[int, ...]] = []
    while len(chosen) < levels - 1:
        long = [axis for axis, size in enumerate(sizes) if size >= 2 * LEAST_SIZE]
        if not long:
            break
        finest = min(spacing[axis] for axis in long)
        step = tuple(2 if axis in long and spacing[axis] < 2 * finest else 1 for axis in range(len(sizes)))
        chosen.append(step)
        sizes = [-(-size // factor) for size, factor in zip(sizes, step)]
        spacing = [length * factor for length, factor in zip(spacing, step)]
    return tuple(chosen)
