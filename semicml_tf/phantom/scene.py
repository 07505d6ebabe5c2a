"""A patient as a list of parts with an appearance per modality, which can be drawn on any grid."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from semicml_tf.geometry.grid import Grid
from semicml_tf.phantom.shapes import Blob, Lobes, Tube


@dataclasses.dataclass(frozen=True)
class Look:
    """How a part appears in one modality.

    Attributes:
        level: mean intensity, in the unit of the modality.
        mottle: standard deviation of the texture in the part.
        rim: level of the outermost `rim_mm`; None for no rim.
        rim_mm: width of the rim.
        edge_mm: width of the transition to the surrounding parts.
    """

    level: float
    mottle: float = 0.0
    rim: float | None = None
    rim_mm: float = 0.0
    edge_mm: float = 1.0


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """One structure: its shape, look by modality (invisible in others), and label value (None for no lesion)."""

    name: str
    shape: Blob | Lobes | Tube
    looks: Mapping[str, Look]
    label: int | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
    """A patient in world millimetres (RAS+). Later parts cover earlier ones. The body clips all parts.

    Attributes:
        body: the first part.
        parts: in drawing order, lesions last.
        outside: level outside the body, by modality.
        texture: of the tissue, shared by all parts and modalities.
    """

    body: Part
    parts: Sequence[Part]
    outside: Mapping[str, float]
    texture: Texture

    def paint(self, modality: str, grid: Grid) -> np.ndarray:
        """The ideal image, without blur and noise: float32 with the shape of the grid."""
        points = world_points(grid)
        texture = self.texture.at(points)
        image = np.zeros(len(points))
        for part in (self.body, *self.parts):
            look = part.looks.get(modality)
            if look is None:
                continue
            near, distance = _near(part.shape, points, margin_mm=4 * look.edge_mm)
            level = look.level + look.mottle * texture[near]
            if look.rim is not None:
                level += (look.rim - look.level) * _inside(-look.rim_mm - distance, look.edge_mm)
            image[near] += (level - image[near]) * _inside(distance, look.edge_mm)
        within = _inside(self.body.shape.distance_mm(points), self.body.looks[modality].edge_mm)
        outside = self.outside[modality]
        return (outside + (image - outside) * within).reshape(grid.shape).astype(np.float32)

    def labels(self, grid: Grid) -> np.ndarray:
        """The label map: uint8 with the shape of the grid, 0 outside lesions."""
        points = world_points(grid)
        labels = np.zeros(len(points), np.uint8)
        for part in self.parts:
            if part.label is not None:
                near, distance = _near(part.shape, points, margin_mm=1.0)
                labels[near] = np.where(distance < 0, part.label, labels[near])
        labels[self.body.shape.distance_mm(points) >= 0] = 0
        return labels.reshape(grid.shape)


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
        """Waves in random directions, with log-uniform lengths in a range."""
        directions = rng.normal(size=(count, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        lengths = np.exp(rng.uniform(*np.log(wavelengths_mm), size=(count, 1)))
        return cls(directions * 2 * np.pi / lengths, rng.uniform(0, 2 * np.pi, count))

    def at(self, points: np.ndarray) -> np.ndarray:
        """Values (n,) at (n, 3) points in mm."""
        dtype = points.dtype
        waves = np.cos(points @ self.waves.T.astype(dtype) + self.phases.astype(dtype))
        return waves @ np.full(len(self.phases), np.sqrt(2 / len(self.phases)), dtype)


def world_points(grid: Grid) -> np.ndarray:
    """Centres of all voxels, (n, 3) float32 in mm, in C order."""
    steps = [np.arange(n)[:, None] * grid.affine[:3, axis] for axis, n in enumerate(grid.shape)]
    points = steps[0][:, None, None] + steps[1][:, None] + steps[2] + grid.affine[:3, 3]
    return points.reshape(-1, 3).astype(np.float32)


def _near(shape, points: np.ndarray, *, margin_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Indices and distances of the points within reach of the shape. Most parts are small."""
    reach = shape.reach_mm + margin_mm
    away = np.abs(points - shape.centre.astype(points.dtype))
    near = np.flatnonzero((away[:, 0] < reach) & (away[:, 1] < reach) & (away[:, 2] < reach))
    return near, shape.distance_mm(points[near])


def _inside(distance_mm: np.ndarray, edge_mm: float) -> np.ndarray:
    """1 inside, 0 outside, with a linear transition of width `edge_mm`, as of a voxel at the edge."""
    return np.clip(0.5 - distance_mm / edge_mm, 0, 1)
