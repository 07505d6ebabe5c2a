"""Smooth irregular shapes, defined by signed distances in millimetres."""

from __future__ import annotations

import dataclasses

import numpy as np


def random_rotation(rng: np.random.Generator, largest_degrees: float) -> np.ndarray:
    """(3, 3) rotation about a random axis by up to `largest_degrees` (Rodrigues' formula)."""
    axis = rng.normal(size=3)
    axis /= np.linalg.norm(axis)
    angle = np.deg2rad(rng.uniform(-largest_degrees, largest_degrees))
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _length(vectors: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("ij,ij->i", vectors, vectors))


@dataclasses.dataclass(frozen=True, eq=False)
class Blob:
    """An ellipsoid with a wavy surface.

    Attributes:
        centre: (3,) mm.
        radii: (3,) mm along the columns of `rotation`.
        rotation: (3, 3).
        waves: (n, 3) frequencies over the unit sphere.
        phases: (n,) radians.
        depth: height of each wave as a fraction of the radius.
    """

    centre: np.ndarray
    radii: np.ndarray
    rotation: np.ndarray
    waves: np.ndarray
    phases: np.ndarray
    depth: float

    @classmethod
    def random(cls, rng, centre, radii, *, depth=0.05, waviness=2.5, tilt_degrees=180.0) -> Blob:
        return cls(
            np.asarray(centre, float),
            np.asarray(radii, float),
            random_rotation(rng, tilt_degrees),
            rng.normal(scale=waviness, size=(4, 3)),
            rng.uniform(0, 2 * np.pi, size=4),
            depth,
        )

    @property
    def reach_mm(self) -> float:
        """Upper bound of the distance from the centre to a point of the blob."""
        return float(self.radii.max() * (1 + 4 * self.depth))

    def distance_mm(self, points: np.ndarray) -> np.ndarray:
        """Approximate signed distance, negative inside, of (n, 3) points in mm. Returns (n,)."""
        dtype = points.dtype  # float32 points take half the time, and are exact to about a micrometre
        local = (points - self.centre.astype(dtype)) @ (self.rotation / self.radii).astype(dtype)
        rho = _length(local)
        unit = local / np.maximum(rho, 1e-6)[:, None]
        waves = np.cos(unit @ self.waves.T.astype(dtype) + self.phases.astype(dtype))
        surface = 1 + self.depth * (waves @ np.ones(len(self.phases), dtype))
        # To first order, the distance to a level set is the value over the norm of the gradient.
        slope = _length(unit / self.radii.astype(dtype))
        return (rho - surface) / np.maximum(slope, 1e-6)


@dataclasses.dataclass(frozen=True, eq=False)
class Lobes:
    """The union of blobs. Its centre is the centre of the first blob."""

    blobs: tuple[Blob, ...]

    @property
    def centre(self) -> np.ndarray:
        return self.blobs[0].centre

    @property
    def reach_mm(self) -> float:
        return max(float(np.linalg.norm(b.centre - self.centre)) + b.reach_mm for b in self.blobs)

    def distance_mm(self, points: np.ndarray) -> np.ndarray:
        """As `Blob.distance_mm`."""
        return np.min([blob.distance_mm(points) for blob in self.blobs], axis=0)


@dataclasses.dataclass(frozen=True, eq=False)
class Tube:
    """An infinite wavy tube along the third axis of the world (feet to head).

    Attributes:
        centre: (3,) mm, a point of the axis.
        radius: mm.
        slope: (2,) sideways shift of the axis, in mm per mm.
        sway: (2,) mm, amplitude of the waves of the axis.
        wavelength: mm.
    """

    centre: np.ndarray
    radius: float
    slope: np.ndarray
    sway: np.ndarray
    wavelength: float

    @classmethod
    def random(cls, rng, centre, radius, *, sway=3.0) -> Tube:
        centre = np.asarray(centre, float)
        slope = rng.uniform(-0.25, 0.25, 2)
        return cls(centre, float(radius), slope, rng.uniform(-sway, sway, 2), rng.uniform(60, 120))

    @property
    def reach_mm(self) -> float:
        return float("inf")

    def distance_mm(self, points: np.ndarray) -> np.ndarray:
        """As `Blob.distance_mm`."""
        along = points[:, 2:] - points.dtype.type(self.centre[2])
        wave = np.sin(2 * np.pi / self.wavelength * along)
        axis = self.centre[:2] + along * self.slope + self.sway * wave
        return _length(points[:, :2] - axis) - self.radius
