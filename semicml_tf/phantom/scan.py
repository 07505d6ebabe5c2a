"""Geometry of a scan: the field of view, and the grids of the modalities in it."""

from __future__ import annotations

import dataclasses

import numpy as np

from semicml_tf.geometry.grid import Grid
from semicml_tf.phantom.shapes import random_rotation

_LPS = np.diag([-1.0, -1.0, 1.0])


@dataclasses.dataclass(frozen=True, eq=False)
class Scan:
    """The field of view, a box in the world.

    Attributes:
        centre: (3,) mm in the world (RAS+).
        rotation: (3, 3) axes of the box; the identity for an axis-aligned scan.
        size_mm: (3,) sides of the box: left-right, back-front, feet-head.
        orientation: (3, 3) signed permutation from index axes to the axes of the box.
    """

    centre: np.ndarray
    rotation: np.ndarray
    size_mm: np.ndarray
    orientation: np.ndarray

    @classmethod
    def random(cls, rng, size_mm, *, oblique: bool) -> Scan:
        """A box at a random position: LPS as in DICOM, or tilted by up to 20 degrees with random index axes."""
        centre = rng.uniform(-120, 120, 3)
        rotation = random_rotation(rng, 20.0) if oblique else np.eye(3)
        return cls(centre, rotation, np.asarray(size_mm, float), _random_orientation(rng) if oblique else _LPS)

    def grid(self, spacing_mm) -> Grid:
        """The grid that fills the box, with a spacing along the axes of the box."""
        spacing = np.asarray(spacing_mm, float)
        sizes = np.maximum(np.round(self.size_mm / spacing), 1)
        shape = np.abs(self.orientation).T @ sizes
        affine = np.eye(4)
        affine[:3, :3] = self.rotation @ np.diag(spacing) @ self.orientation
        affine[:3, 3] = self.centre - affine[:3, :3] @ ((shape - 1) / 2)
        return Grid(tuple(int(n) for n in shape), affine)

    def second(self, rng, *, oblique: bool) -> Scan:
        """The box of a second scanner, slightly larger and shifted; if `oblique`, with another tilt and axis order."""
        return Scan(
            self.centre + rng.uniform(-3, 3, 3),
            self.rotation @ random_rotation(rng, 4.0) if oblique else self.rotation,
            self.size_mm + rng.uniform(12, 20, 3),
            _random_orientation(rng) if oblique else self.orientation,
        )

    def random_point(self, rng, margin_mm: float = 0.0) -> np.ndarray:
        """A uniform random point in the box enlarged by `margin_mm`: (3,) mm in the world."""
        half = self.size_mm / 2 + margin_mm
        return self.centre + self.rotation @ rng.uniform(-half, half)


def _random_orientation(rng) -> np.ndarray:
    """A random choice among the 48 orders and directions of index axes."""
    return (np.eye(3) * rng.choice([-1.0, 1.0], 3))[:, rng.permutation(3)]
