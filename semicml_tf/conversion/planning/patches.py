"""Patches for 3-D networks from a dataset's fingerprint, as nnU-Net plans them, with the reason.

After nnU-Net's planner of experiments (Isensee et al., Nature Methods 2021): a patch covers about as many millimetres
along each axis, but no more than the median body; the longest axis, in fractions of the body, is shortened until the
patch has few enough voxels; each axis is a multiple of what the network divides it by. Here the limit is a number of
voxels, where nnU-Net estimates a GPU's memory. Labels have no say in any of it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from semicml_tf.conversion.planning.fingerprint import AXES, Fingerprint
from semicml_tf.conversion.settings import Settings
from semicml_tf.geometry.strides import LEAST_SIZE, strides

# As many as 32 slices of 64 x 64 pixels.
MOST_VOXELS = 2**17
LEVELS = 5
# Patches per step of each stream, the fewest with which batch normalisation and batch Dice work.
BATCH = 2


@dataclasses.dataclass(frozen=True)
class PatchPlan:
    """What was chosen.

    Attributes:
        window: (slices, rows, columns) of the patches in voxels.
        strides: for each level but the last, the step to the next level along each axis; training chooses the same.
        reason: a line: the flags of training, and why.
    """

    window: tuple[int, int, int]
    strides: tuple[tuple[int, ...], ...]
    reason: str


def plan_patches(fingerprint: Fingerprint, settings: Settings) -> PatchPlan | str:
    """Chooses the patches of 3-D networks.

    Args:
        fingerprint: of the dataset.
        settings: of the conversion, with the planned spacing.

    Returns:
        The plan, or a line that says why there is none.
    """
    reference = fingerprint.images[settings.reference_modality]
    covers = reference["body_extent_mm"] or reference["extent_mm"]
    spacing = [chosen or reference["spacing_mm"][axis]["median"] for axis, chosen in zip(AXES, settings.spacing_mm)]
    sizes = [math.ceil(round(covers[axis]["median"] / mm, 3)) for axis, mm in zip(AXES, spacing)]
    if min(sizes) < LEAST_SIZE:
        return (
            f"no patches for 3-D networks: the median body is {_text(sizes)} voxels, and each axis needs {LEAST_SIZE}; "
            "train on slices"
        )
    window = _window(sizes, spacing, settings.spacing_mm)
    steps = strides(window, settings.spacing_mm, levels=LEVELS)
    flags = (
        f"--network=unet3d --window={','.join(map(str, window))} --labelled_batch={BATCH} --unlabelled_batch={BATCH}"
    )
    reason = (
        f"for 3-D, train with {flags}: patches of at most {MOST_VOXELS} voxels; the median body is {_text(sizes)}; "
        f"{len(steps) + 1} levels, divided by {', '.join(map(_text, steps)) or 'nothing'}"
    )
    return PatchPlan(window, steps, reason)


def _text(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))


def _window(sizes: Sequence[int], spacing: Sequence[float], grid_spacing: Sequence[float]) -> tuple[int, int, int]:
    """The patch for bodies of `sizes` voxels of `spacing` mm. Training sees `grid_spacing`, where 0 is unknown."""
    # More than is allowed: what short bodies leave of one axis goes to the others.
    side_mm = (8 * MOST_VOXELS * math.prod(spacing)) ** (1 / 3)
    window = [max(LEAST_SIZE, min(size, round(side_mm / mm))) for size, mm in zip(sizes, spacing)]
    while True:
        factors = [math.prod(steps) for steps in zip(*strides(window, grid_spacing, levels=LEVELS))] or [1] * 3
        rounded = [math.ceil(size / factor) * factor for size, factor in zip(window, factors)]
        if rounded != window:  # and may then allow a further division
            window = rounded
        elif math.prod(window) <= MOST_VOXELS:
            return tuple(window)
        else:
            long = [axis for axis in range(3) if window[axis] - factors[axis] >= LEAST_SIZE]
            longest = max(long, key=lambda axis: (window[axis] / sizes[axis], window[axis]))
            window[longest] -= factors[longest]
