"""Volumes from one grid onto another, in physical space."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
from scipy import ndimage

from semicml_tf.geometry.box import bounding_box
from semicml_tf.geometry.grid import Grid
from semicml_tf.geometry.mask import binary

_GROSS = 1 / 3  # of a mask's volume: a change by more is reported
_NOISE = 1e-3  # source voxels: less than this is the rounding of an affine, not a displacement


def resample(
    volume: np.ndarray,
    source: Grid,
    target: Grid,
    *,
    outside: float | None = None,
    smooth: bool = True,
    axis_by_axis: bool = False,
) -> np.ndarray:
    """Resamples by linear interpolation, by default smoothed first along axes that get coarser.

    Args:
        volume: values on `source`.
        outside: value beyond the source's box; None repeats its border.
        smooth: whether to smooth, so that detail finer than the target's grid does not alias.
        axis_by_axis: where the axes of the grids are parallel, interpolate along one axis after another. This is ten
            times as fast. Rounding may change the last bit of a value, so conversion does not use it: its bytes stay.

    Returns:
        float32 values on `target`, in any order of memory. Where the target's voxels coincide with the source's (in
        any of the 48 orientations) they are the source's values, unchanged.
    """
    if tuple(volume.shape) != source.shape:
        raise ValueError(f"expected a volume of shape {source.shape}, got {volume.shape}")
    volume = np.asarray(volume, dtype=np.float32)
    to_source = np.linalg.inv(source.affine) @ target.affine
    matrix, offset = to_source[:3, :3], to_source[:3, 3]
    # Rounding noise of the inverse must not push border voxels outside or blur a mere reorientation.
    if (
        np.abs(matrix - np.round(matrix)).max() * max(target.shape) < _NOISE
        and np.abs(offset - np.round(offset)).max() < _NOISE
    ):
        matrix, offset = np.round(matrix), np.round(offset)
    picked = _picked(volume, matrix, offset, target.shape)
    if picked is not None:
        return picked
    # Source voxels travelled along each source axis by one step on the target: above 1, details
    # finer than the target's grid would alias. The Gaussian is the usual half-width of the excess.
    stride = np.abs(matrix).max(axis=1)
    sigma = 0.5 * np.sqrt(np.maximum(stride**2 - 1.0, 0.0))
    if smooth and np.any(sigma > 0.1):
        volume = ndimage.gaussian_filter(volume, sigma, mode="nearest", truncate=3.0)
    along = _parallel(matrix, target.shape) if axis_by_axis else None
    if along is not None:
        return _axis_by_axis(volume, matrix, offset, along, target.shape, outside)
    values = ndimage.affine_transform(
        volume, matrix, offset, output_shape=target.shape, order=1, mode="nearest", output=np.float32
    )
    if outside is not None:
        for index, plane in enumerate(values):
            plane[~_inside(matrix, offset, source.shape, target.shape, index)] = outside
    return values


def _picked(volume: np.ndarray, matrix: np.ndarray, offset: np.ndarray, shape: tuple) -> np.ndarray | None:
    """The target's values where each is one of the source's: axes in another order or direction, or a part of them.

    Interpolation would give the same values fifty times more slowly. None where it is needed.
    """
    if not np.array_equal(np.abs(matrix) @ np.ones(3), np.ones(3)) or not np.isin(matrix, (-1, 0, 1)).all():
        return None
    order = np.abs(matrix).argmax(axis=0)  # the source's axis that runs along each of the target's
    ends = offset + matrix @ (np.array(shape) - 1)
    low, high = np.minimum(offset, ends).astype(int), np.maximum(offset, ends).astype(int)
    if (low < 0).any() or (high >= volume.shape).any() or sorted(order) != [0, 1, 2]:
        return None
    part = volume[tuple(slice(a, b + 1) for a, b in zip(low, high))].transpose(order)
    backwards = matrix[order, range(3)] < 0
    return np.ascontiguousarray(part[tuple(slice(None, None, -1 if back else 1) for back in backwards)])


def _parallel(matrix: np.ndarray, shape: tuple) -> tuple[int, ...] | None:
    """The source axis that runs along each target axis; None where the axes of the two grids are not parallel."""
    along = np.abs(matrix).argmax(axis=0)
    if sorted(along) != [0, 1, 2]:
        return None
    across = np.abs(matrix)
    across[along, range(3)] = 0.0
    return tuple(int(axis) for axis in along) if (across @ np.array(shape) < _NOISE).all() else None


@dataclasses.dataclass(frozen=True, eq=False)
class _Line:
    """Linear interpolation along one axis: ``values[low] * (1 - weight) + values[high] * weight``."""

    low: np.ndarray
    high: np.ndarray
    weight: np.ndarray

    @classmethod
    def through(cls, index: np.ndarray, size: int) -> _Line:
        """Reads an axis of `size` values at the fractional `index`; beyond the ends the border is repeated."""
        index = np.clip(index, 0, size - 1)
        low = np.floor(index).astype(np.intp)
        return cls(low, np.minimum(low + 1, size - 1), index - low)


def _axis_by_axis(
    volume: np.ndarray, matrix: np.ndarray, offset: np.ndarray, along: tuple, shape: tuple, outside: float | None
) -> np.ndarray:
    """Linear interpolation between parallel grids, one axis after another and plane by plane.

    All eight neighbours at once would give the same values, to the rounding of float64, ten times more slowly.

    Args:
        along: the source axis that runs along each target axis.
    """
    lines, box = [], []
    for source_axis in range(3):
        axis = along.index(source_axis)
        index = matrix[source_axis, axis] * np.arange(shape[axis]) + offset[source_axis]
        size = volume.shape[source_axis]
        reached = np.flatnonzero(_in_box(index, size)) if outside is not None else np.arange(len(index))
        box.append(slice(reached[0], reached[-1] + 1) if reached.size else slice(0))
        lines.append(_Line.through(index[box[-1]], size))
    # In the source's order of axes: planes are read and written as they lie in memory.
    size = [shape[along.index(axis)] for axis in range(3)]
    values = np.empty(size, np.float32) if outside is None else np.full(size, outside, np.float32)
    first, rows, columns = lines
    row_weight, column_weight = rows.weight[:, np.newaxis], columns.weight
    high_rows = np.empty((len(rows.low), len(columns.low)))
    for target, low, high, weight in zip(values[tuple(box)], first.low, first.high, first.weight):
        plane = volume[low].astype(np.float64) * (1.0 - weight) + volume[high].astype(np.float64) * weight
        plane = plane.take(columns.low, 1) * (1.0 - column_weight) + plane.take(columns.high, 1) * column_weight
        np.multiply(plane.take(rows.high, 0), row_weight, out=high_rows)
        plane = plane.take(rows.low, 0)
        plane *= 1.0 - row_weight
        np.add(plane, high_rows, out=target, casting="same_kind")
    return values.transpose(along)


def _in_box(index: np.ndarray, size: int) -> np.ndarray:
    """Which indices lie between the outer edges of `size` voxels, half a voxel beyond the first and last centre."""
    return (index >= -0.5 - _NOISE) & (index <= size - 0.5 + _NOISE)


def _inside(matrix: np.ndarray, offset: np.ndarray, source_shape: tuple, target_shape: tuple, i: int) -> np.ndarray:
    """Which voxel centres of the target's plane `i` along its first axis lie in the source's box; bool, 2-D.

    The box ends at the border voxels' edges, half a voxel beyond their centres: a structure that touches
    the border keeps its outermost half voxel when it goes to a finer grid.
    """
    inside = np.ones(target_shape[1:], bool)
    j, k = np.ogrid[: target_shape[1], : target_shape[2]]
    for axis, size in enumerate(source_shape):
        index = matrix[axis, 0] * i + matrix[axis, 1] * j + matrix[axis, 2] * k + offset[axis]
        inside &= _in_box(index, size)
    return inside


def reaches(source: Grid, target: Grid) -> np.ndarray:
    """Which of the target's voxel centres lie in the source's box, bool of the target's shape."""
    to_source = np.linalg.inv(source.affine) @ target.affine
    place = to_source[:3, :3], to_source[:3, 3], source.shape, target.shape
    return np.stack([_inside(*place, index) for index in range(target.shape[0])])


def resample_mask(mask: np.ndarray, source: Grid, target: Grid) -> np.ndarray:
    """A binary mask on another grid: the voxels that it covers by at least half. Returns uint8 0/1.

    A voxel's cover is counted at points spread over it, along axes that get coarser. Smoothing instead
    would move the half level of a ball of radius r inwards by about sigma^2 / r: a tenth of a lesion of
    10 mm when 2 mm voxels become 4 mm ones.

    Raises:
        ValueError: the mask has values other than 0 and 1.
    """
    hits, points = cover(mask, source, target)
    return (2 * hits >= points).view(np.uint8)


def cover(mask: np.ndarray, source: Grid, target: Grid) -> tuple[np.ndarray, int]:
    """How much of each voxel of another grid a binary mask covers; see `resample_mask`.

    Returns:
        The number of points in each target voxel that the mask covers, uint32, and the number of points in a voxel.

    Raises:
        ValueError: the mask has values other than 0 and 1.
    """
    mask = binary(mask)
    whole = np.zeros(target.shape, np.uint32)
    step = np.abs(np.linalg.inv(source.affine) @ target.affine)[:3, :3].max(axis=0)  # source voxels a target voxel
    counts = [1 if size <= 1 + 1e-3 else 2 * int(np.ceil(size)) for size in step]
    points = math.prod(counts)
    part = _reach(mask, source, target)
    if part is None:
        return whole, points
    affine = target.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ np.array([bounds.start for bounds in part])
    shape = tuple(bounds.stop - bounds.start for bounds in part)
    soft = mask.astype(np.float32)
    hits = whole[part]
    for place in itertools.product(*((np.arange(n) + 0.5) / n - 0.5 for n in counts)):
        shifted = affine.copy()
        shifted[:3, 3] += shifted[:3, :3] @ np.array(place)
        hits += resample(soft, source, Grid(shape, shifted), outside=0.0, smooth=False) >= 0.5
    return whole, points


def changed_volume(before: np.ndarray, source: Grid, after: np.ndarray, target: Grid) -> str:
    """What resampling did to a mask's volume, if that changed grossly: by more than a third; else "".

    Args:
        before, source: the mask and its grid.
        after, target: the same, resampled.

    Returns:
        For a message, such as ``0.512 ml became 0.064 ml``.
    """
    old, new = (np.count_nonzero(mask) * grid.voxel_volume_ml for mask, grid in ((before, source), (after, target)))
    if old == new or (old and 1 - _GROSS <= new / old <= 1 / (1 - _GROSS)):
        return ""
    return f"{old:.3g} ml became {new:.3g} ml"


def _reach(mask: np.ndarray, source: Grid, target: Grid) -> tuple[slice, ...] | None:
    """The target's voxels that the mask's bounding box can touch; None where it touches none.

    A lesion is a small part of a volume: counting its cover everywhere would take a minute.
    """
    box = bounding_box(mask != 0)
    if box is None:
        return None
    corners = np.array([(*corner, 1) for corner in itertools.product(*((b.start - 1, b.stop) for b in box))])
    indices = (corners @ (np.linalg.inv(target.affine) @ source.affine).T)[:, :3]
    low = np.maximum(np.floor(indices.min(axis=0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(indices.max(axis=0)).astype(int) + 2, target.shape)
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high)) if (low < high).all() else None
