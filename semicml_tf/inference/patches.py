"""A network of 3-D patches applied to a whole volume.

The weights of overlapping patches have the sum 1, so that weighted probabilities are added to the result: there is no
further array of the volume's size.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.geometry.patch import Patch
from semicml_tf.geometry.patch_tiling import OVERLAP, Interval, intervals

# Voxels of a call, at most: as many as in 16 slices of 256 x 256 pixels. Features take a hundred times more memory.
_CALL_VOXELS = 2**20


def limited(batch_size: int, patch: Patch) -> int:
    """Patches a call: `batch_size`, or fewer where patches are large; at least 1."""
    return max(1, min(batch_size, _CALL_VOXELS // math.prod(patch.spatial)))


def _grid(shape: tuple[int, ...], patch: Patch, overlap: float | None) -> tuple[tuple[Interval, ...], ...]:
    share = OVERLAP if overlap is None else overlap
    return tuple(intervals(size, side, share) for size, side in zip(shape, patch.spatial))


def count(shape: tuple[int, ...], patch: Patch, overlap: float | None = None) -> int:
    """Number of patches of a volume of this shape."""
    return math.prod(len(axis) for axis in _grid(shape, patch, overlap))


def batches(volume: np.ndarray, patch: Patch, batch_size: int, overlap: float | None = None) -> Iterator[np.ndarray]:
    """The patches of a volume, slices outermost: (batch, *patch.shape) float32, cut when asked for."""
    places = itertools.product(*_grid(volume.shape, patch, overlap))
    while chosen := list(itertools.islice(places, limited(batch_size, patch))):
        cut = [volume[np.ix_(*(interval.places for interval in one))] for one in chosen]
        yield np.stack(cut).astype(np.float32)[..., np.newaxis]


def answered(
    volume: np.ndarray,
    patch: Patch,
    answers: Callable[[Iterable[np.ndarray]], Iterable[np.ndarray]],
    *,
    classes: int,
    batch_size: int,
    overlap: float | None = None,
) -> np.ndarray:
    """Probabilities of a normalised volume on the network's grid; arguments and errors as for `slices.answered`.

    Returns:
        float32 (classes, slices, rows, columns).
    """
    result = np.zeros((classes, *volume.shape), np.float32)
    places = itertools.product(*_grid(volume.shape, patch, overlap))
    for answer in answers(batches(volume, patch, batch_size, overlap)):
        answer = np.asarray(answer, np.float32)
        if answer.shape[1:] != (*patch.spatial, classes):
            sides = ", ".join(map(str, patch.spatial))
            raise UserError(
                f"expected probabilities of shape (batch, {sides}, {classes}) of the network, got {answer.shape}",
                remedy=f"Use a network of {classes} output channel{'s' * (classes > 1)} and of these patches",
            )
        for tile, one in zip(answer, places):
            z, y, x = (interval.weight for interval in one)
            weight = z[:, np.newaxis, np.newaxis] * y[:, np.newaxis] * x
            part = tile[tuple(interval.inside for interval in one)]
            target = tuple(interval.target for interval in one)
            for number in range(classes):
                result[(number, *target)] += weight * part[..., number]
    # Rounding may carry a sum of ones above 1.
    return np.minimum(result, 1.0, out=result)
