"""Random pairs of small masks of every difficult kind, equal on every machine, for comparing implementations."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np

SEED, COUNT = 6, 50
_SPACINGS_MM = (0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 3.27, 5.0)


@dataclasses.dataclass(frozen=True, eq=False)
class MaskPair:
    """Two masks on one grid.

    Attributes:
        kind: a key of `KINDS`.
        prediction: (i, j, k) of bool.
        truth: (i, j, k) of bool.
        spacing_mm: distance of voxels along i, j, k. The three values usually differ.
    """

    kind: str
    prediction: np.ndarray
    truth: np.ndarray
    spacing_mm: tuple[float, float, float]


def _blobs(random: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
    """A mask with smooth, irregular borders, holes and islands. Integers avoid rounding."""
    noise = random.randint(0, 1000, shape).astype(np.int64)
    for _ in range(2):
        for axis in range(3):
            noise = noise + np.roll(noise, 1, axis) + np.roll(noise, -1, axis)
    limit = np.sort(noise, axis=None)[noise.size * random.randint(60, 95) // 100]
    return noise > limit


def _box(random: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    corner = [random.randint(0, length - 1) for length in shape]
    end = [random.randint(start + 1, length + 1) for start, length in zip(corner, shape)]
    mask[tuple(slice(start, stop) for start, stop in zip(corner, end))] = True
    return mask


def _at_border(random: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
    """A box at one border of the volume, in some cases up to the opposite border."""
    mask, axis = _box(random, shape), random.randint(3)
    mask = np.moveaxis(mask, axis, 0)
    mask[: random.randint(1, len(mask) + 1)] |= mask.any(axis=0)
    return np.ascontiguousarray(np.moveaxis(mask, 0, axis))


def _voxels(random: np.random.RandomState, shape: tuple[int, ...], count: int) -> np.ndarray:
    mask = np.zeros(shape, bool)
    for _ in range(count):
        mask[tuple(random.randint(length) for length in shape)] = True
    return mask


def _shifted(random: np.random.RandomState, mask: np.ndarray) -> np.ndarray:
    """The mask shifted by a few voxels, with a few voxels inverted, similar to a prediction."""
    moved = np.roll(mask, random.randint(-2, 3, 3), (0, 1, 2))
    return moved ^ _voxels(random, mask.shape, 5)


def _empty(random: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
    return np.zeros(shape, bool)


def _of(first, second):
    return lambda random, shape: (first(random, shape), second(random, shape))


def _near(random: np.random.RandomState, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    truth = _blobs(random, shape)
    return _shifted(random, truth), truth


def _same(random: np.random.RandomState, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    mask = _blobs(random, shape)
    return mask, mask.copy()


def _one(random: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
    return _voxels(random, shape, 1)


def _several(random: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
    """Specks and a box."""
    return _voxels(random, shape, 6) | _box(random, shape)


# Prediction and truth of each kind. `pairs` cycles through the kinds.
KINDS = {
    "blobs": _of(_blobs, _blobs),
    "near": _near,
    "boxes": _of(_box, _box),
    "at the border": _of(_at_border, _at_border),
    "single voxels": _of(_one, _one),
    "several": _of(_several, _several),
    "a voxel and blobs": _of(_one, _blobs),
    "same": _same,
    "missed": _of(_empty, _blobs),
    "false alarm": _of(_blobs, _empty),
    "both empty": _of(_empty, _empty),
    "near again": _near,
}


def pairs(seed: int = SEED, count: int = COUNT) -> list[MaskPair]:
    """The pairs of a seed. Unlike NumPy's newer generators, RandomState gives the same stream in all versions."""
    random, names = np.random.RandomState(seed), list(KINDS)
    found = []
    for index in range(count):
        kind = names[index % len(names)]
        shape = tuple(int(length) for length in random.randint(8, 25, 3))
        prediction, truth = KINDS[kind](random, shape)
        spacing_mm = tuple(_SPACINGS_MM[place] for place in random.randint(0, len(_SPACINGS_MM), 3))
        found.append(MaskPair(kind, prediction, truth, spacing_mm))
    return found


def digest(pairs: Sequence[MaskPair]) -> str:
    """SHA-256 of masks, shapes and spacings, which shows whether reference values belong to these pairs."""
    found = hashlib.sha256()
    for pair in pairs:
        found.update(repr((pair.truth.shape, pair.spacing_mm)).encode())
        for mask in (pair.prediction, pair.truth):
            found.update(np.packbits(mask).tobytes())
    return found.hexdigest()
