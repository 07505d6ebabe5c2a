"""A voxel grid in physical space: a value that travels with every array."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

# Voxels and places beyond these are no measurements, and computing with them overflows.
_SMALLEST_MM, _LARGEST_MM, _FARTHEST_MM = 1e-6, 1e6, 1e9

# Index axes of a grid "for the network": slices run to the head, rows to the back, columns to the
# left of the patient, so that an axial slice shown with row 0 on top looks as radiologists show it.
_CANONICAL_DIRECTIONS_RAS = np.array([[0.0, 0.0, 1.0], [0.0, -1.0, 0.0], [-1.0, 0.0, 0.0]])


@dataclasses.dataclass(frozen=True, eq=False)
class Grid:
    """A regular voxel grid.

    Attributes:
        shape: voxels along the three index axes.
        affine: (4, 4) float64; maps ``(i, j, k, 1)`` to millimetres in RAS+ world space (NIfTI's).
    """

    shape: tuple[int, int, int]
    affine: np.ndarray

    def __post_init__(self):
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        affine = np.array(self.affine, dtype=np.float64).reshape(4, 4)
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ValueError(f"expected three positive sizes, got shape {self.shape}")
        if not np.all(np.isfinite(affine)) or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
            raise ValueError(f"expected an invertible affine, got {affine.tolist()}")
        sizes = np.abs(affine[:3, :3]).max(axis=0)
        if sizes.min() < _SMALLEST_MM or sizes.max() > _LARGEST_MM or np.abs(affine[:3, 3]).max() > _FARTHEST_MM:
            raise ValueError(f"expected voxels from {_SMALLEST_MM:g} to {_LARGEST_MM:g} mm, got {affine.tolist()}")
        affine.setflags(write=False)
        object.__setattr__(self, "affine", affine)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of neighbouring voxels along each index axis."""
        return tuple(float(s) for s in np.linalg.norm(self.affine[:3, :3], axis=0))

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of a voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    @property
    def diagonal_mm(self) -> float:
        """Length of the volume's diagonal, edge to edge."""
        return float(np.linalg.norm(self.affine[:3, :3] @ np.array(self.shape)))

    def is_close(self, other: Grid, tolerance_mm: float = 0.1) -> bool:
        """Whether both have one shape and no voxel centre lies farther off than `tolerance_mm`."""
        if self.shape != other.shape:
            return False
        corners = np.array(list(itertools.product(*((0, n - 1) for n in self.shape))))
        homogeneous = np.c_[corners, np.ones(8)].T
        return bool(np.abs((self.affine - other.affine) @ homogeneous).max() <= tolerance_mm)

    def reordered(self) -> tuple[Grid, tuple[int, int, int], tuple[bool, bool, bool]]:
        """This grid with its index axes in slice, row, column order.

        Returns:
            The grid of ``np.transpose(array, order)`` flipped where `flips` says so, and `order`, `flips`.
        """
        directions = self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0)
        cosines = _CANONICAL_DIRECTIONS_RAS @ directions  # (canonical axis, index axis)
        # Of the six assignments the best one: a greedy choice can fail on strongly oblique volumes.
        order = max(itertools.permutations(range(3)), key=lambda p: sum(abs(cosines[a, p[a]]) for a in range(3)))
        flips = tuple(bool(cosines[axis, order[axis]] < 0) for axis in range(3))
        matrix = np.zeros((4, 4))
        matrix[3, 3] = 1.0
        for axis, (source, flip) in enumerate(zip(order, flips)):
            matrix[source, axis] = -1.0 if flip else 1.0
            matrix[source, 3] += self.shape[source] - 1 if flip else 0
        return Grid(tuple(self.shape[a] for a in order), self.affine @ matrix), order, flips

    def cropped(self, box: tuple[slice, slice, slice]) -> Grid:
        """The grid of ``array[box]``; `box` has explicit ends and steps of one."""
        affine = self.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ np.array([side.start for side in box])
        return Grid(tuple(side.stop - side.start for side in box), affine)

    def for_network(self, spacing_mm: tuple[float, float, float]) -> Grid:
        """The grid of the given spacing that covers this one's box, in slice, row, column order.

        Args:
            spacing_mm: distance of slices, rows, columns; 0 keeps this grid's own.

        Returns:
            A grid along this grid's own axes (oblique ones stay oblique), centred on its box.
        """
        base, _, _ = self.reordered()
        own = np.array(base.spacing_mm)
        wanted = np.where(np.array(spacing_mm, dtype=float) > 0, spacing_mm, own)
        # A thousandth of a voxel of slack: 3.26995 mm must not add a slice to a grid of 3.27 mm.
        sizes = np.maximum(np.ceil(np.array(base.shape) * own / wanted - 1e-3).astype(int), 1)
        step = base.affine[:3, :3] * (wanted / own)
        centre = base.affine[:3, 3] + base.affine[:3, :3] @ ((np.array(base.shape) - 1) / 2)
        affine = np.eye(4)
        affine[:3, :3] = step
        affine[:3, 3] = centre - step @ ((sizes - 1) / 2)
        return Grid(tuple(sizes), affine)
