"""Random smooth fields that can be read at any point, so that every modality sees the same tissue."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Texture:
    """A sum of plane waves: mean 0, standard deviation 1.

    Attributes:
        waves: (n, 3) radians per mm.
        phases: (n,) radians.
    """

    waves: np.ndarray
    phases: np.ndarray

    @classmethod
    def random(cls, rng, wavelengths_mm: tuple[float, float], count: int = 16) -> Texture:
        """Waves in random directions, their lengths spread between the two given."""
        directions = rng.normal(size=(count, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        lengths = np.exp(rng.uniform(*np.log(wavelengths_mm), size=(count, 1)))
        return cls(directions * 2 * np.pi / lengths, rng.uniform(0, 2 * np.pi, count))

    def at(self, points: np.ndarray) -> np.ndarray:
        """Values (n,) at (n, 3) points in mm."""
        dtype = points.dtype
        waves = np.cos(points @ self.waves.T.astype(dtype) + self.phases.astype(dtype))
        return waves @ np.full(len(self.phases), np.sqrt(2 / len(self.phases)), dtype)
