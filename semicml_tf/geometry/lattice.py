"""Two grids whose voxels coincide although their axes have another order or direction, and why grids differ."""

from __future__ import annotations

import dataclasses

import numpy as np

from semicml_tf.geometry.grid import Grid

_TOLERANCE_MM = 0.1
_PARALLEL = 1e-3  # of a voxel per voxel
_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_DIRECTIONS = (("left", "right"), ("back", "front"), ("feet", "head"))


@dataclasses.dataclass(frozen=True)
class Placement:
    """The place of a volume's voxels in another grid.

    Attributes:
        order: for each axis of the grid, the axis of the volume that runs along it.
        flips: for each axis of the grid, whether the volume runs against it.
        box: the voxels of the grid that the volume covers.
        shape: of the grid.
    """

    order: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    box: tuple[slice, slice, slice]
    shape: tuple[int, int, int]

    @property
    def is_reordered(self) -> bool:
        """Whether axes have another order or direction."""
        return self.order != (0, 1, 2) or any(self.flips)

    @property
    def is_whole(self) -> bool:
        """Whether the volume covers the whole grid."""
        return all(part == slice(0, size) for part, size in zip(self.box, self.shape))

    def apply(self, array: np.ndarray) -> np.ndarray:
        """The volume on the grid, 0 where the volume covers nothing. A view where no voxel is added."""
        placed = np.flip(array.transpose(self.order), [axis for axis, flip in enumerate(self.flips) if flip])
        if self.is_whole:
            return placed
        whole = np.zeros(self.shape, array.dtype)
        whole[self.box] = placed
        return whole


def placement(own: Grid, target: Grid, tolerance_mm: float = _TOLERANCE_MM) -> Placement | None:
    """The place of the voxels of `own` among those of `target`.

    Returns:
        None if a voxel of `own` is no voxel of `target` within the tolerance.
    """
    turn, offset = _relation(own, target)
    matrix = _signed_permutation(turn)
    if matrix is None:
        return None
    offset = np.round(offset).astype(int)
    exact = np.eye(4)
    exact[:3, :3], exact[:3, 3] = matrix, offset
    if not Grid(own.shape, target.affine @ exact).is_close(own, tolerance_mm):
        return None
    order = tuple(int(axis) for axis in np.abs(matrix).argmax(axis=1))
    flips = tuple(bool(matrix[axis, order[axis]] < 0) for axis in range(3))
    box = []
    for axis in range(3):
        size = own.shape[order[axis]]
        start = int(offset[axis]) - (size - 1 if flips[axis] else 0)
        if start < 0 or start + size > target.shape[axis]:
            return None
        box.append(slice(start, start + size))
    return Placement(order, flips, tuple(box), target.shape)


def _relation(own: Grid, target: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Matrix (3, 3) and offset (3,) from indices of `own` to indices of `target`."""
    matrix = np.linalg.inv(target.affine) @ own.affine
    return matrix[:3, :3], matrix[:3, 3]


def _signed_permutation(turn: np.ndarray, tolerance: float = 0.05) -> np.ndarray | None:
    """The matrix of an order and directions of axes that `turn` is, but for rounding; None if it is none."""
    matrix = np.round(turn)
    if np.abs(turn - matrix).max() > tolerance or not np.array_equal(np.abs(matrix) @ np.ones(3), np.ones(3)):
        return None
    return matrix.astype(int) if np.array_equal(np.ones(3) @ np.abs(matrix), np.ones(3)) else None


def described(grid: Grid) -> str:
    """The grid in words: voxels, spacing, origin and directions of the axes (RAS+ mm)."""
    numbers = (
        " x ".join(map(str, grid.shape)),
        " x ".join(f"{size:.4g}" for size in grid.spacing_mm),
        _numbers(grid.affine[:3, 3]),
    )
    return "{} voxels of {} mm, origin ({}) mm, axes to the {}".format(*numbers, ", ".join(directions(grid)))


def _numbers(values: np.ndarray) -> str:
    # Adding 0 makes 0 of -0.
    return ", ".join(f"{value:.6g}" for value in np.round(values, 3) + 0.0)


def directions(grid: Grid) -> tuple[str, str, str]:
    """The side of the patient to which each index axis runs, e.g. ``left``."""
    cosines = grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0)
    worlds = np.abs(cosines).argmax(axis=0)
    return tuple(_DIRECTIONS[world][int(cosines[world, axis] > 0)] for axis, world in enumerate(worlds))


def likely_cause(own: Grid, target: Grid) -> str:
    """The mistake that turns the grid `target` into `own`, in words; "" if no usual mistake does."""
    same_shape = own.shape == target.shape
    turn, offset = _relation(own, target)
    matrix = _signed_permutation(turn, _PARALLEL)
    if same_shape and Grid(own.shape, _LPS @ own.affine).is_close(target):
        return "its affine is in LPS coordinates and not in RAS: the first two world axes have the other sign"
    if same_shape and np.allclose(own.affine[:3, :3], np.eye(3)) and not own.affine[:3, 3].any():
        return "its header lost spacing, origin and directions: it has voxels of 1 mm at the origin 0"
    if matrix is None:
        if not same_shape and sorted(own.shape) == sorted(target.shape):
            return "its axes are in another order than its affine says, as where z, y, x was written as x, y, z"
        return ""
    moved = own.affine[:3, 3] - target.affine[:3, 3]
    if np.array_equal(matrix, np.eye(3)):
        if same_shape:
            return f"its origin is shifted by ({_numbers(moved)}) mm = ({_numbers(offset)}) voxels"
        if sorted(own.shape) == sorted(target.shape):
            return "its axes are in another order than its affine says, as where z, y, x was written as x, y, z"
        return "it covers another box of the same voxels: it was cropped or padded"
    order = np.abs(matrix).argmax(axis=1)
    if tuple(own.shape[axis] for axis in order) != target.shape:
        return "its axes have another order or direction, and it covers another box"
    flipped = [str(axis) for axis in range(3) if matrix[axis, order[axis]] < 0]
    parts = [f"axes {', '.join(flipped)} are reversed"] if flipped else []
    parts += [f"the axes are in the order {', '.join(map(str, order))}"] if list(order) != [0, 1, 2] else []
    return f"{' and '.join(parts)} in its affine, and its origin does not match that"
