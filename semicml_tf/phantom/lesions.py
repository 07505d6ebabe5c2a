"""Lesions, random in number, size, shape and position, and the positions of all structures in the body."""

from __future__ import annotations

import numpy as np

from semicml_tf.phantom.scan import Scan
from semicml_tf.phantom.shapes import Blob, Lobes

_COUNT_WEIGHTS = (0.5, 0.3, 0.2)  # of 1, 2 and 3 lesions
_TRIES = 60  # per structure, to draw a free position


class Placement:
    """Draws positions for round structures, one after the other, without overlap.

    Positions are uniform over the field of view, so that the field of view does not show where a lesion is.

    Args:
        rng: source of randomness.
        scan: the field of view.
        body: shape that contains all structures.
    """

    def __init__(self, rng: np.random.Generator, scan: Scan, body):
        self._rng, self._scan, self._body = rng, scan, body
        self._taken: list[tuple[np.ndarray, float]] = []

    def continued(self, rng: np.random.Generator) -> Placement:
        """A placement with another source of randomness that keeps the occupied positions free."""
        placement = Placement(rng, self._scan, self._body)
        placement._taken = list(self._taken)
        return placement

    def reserve(self, centre: np.ndarray, radius_mm: float) -> None:
        """Keeps later structures out of a ball."""
        self._taken.append((np.asarray(centre, float), radius_mm))

    def draw(self, radius_mm: float, *, depth_mm: float | None = None, margin_mm: float = 0.0) -> np.ndarray | None:
        """Draws and reserves a free position, (3,) mm in the world, for a ball. Returns None if no position is found.

        Args:
            radius_mm: radius of the ball.
            depth_mm: smallest distance of the centre from the surface of the body; None for 0.8 radii.
            margin_mm: largest distance of the centre outside the field of view.
        """
        depth = 0.8 * radius_mm if depth_mm is None else depth_mm
        for _ in range(_TRIES):
            point = self._scan.random_point(self._rng, margin_mm)
            deep = self._body.distance_mm(point[None])[0] <= -depth
            if deep and all(np.linalg.norm(point - c) > radius_mm + r for c, r in self._taken):
                self.reserve(point, radius_mm)
                return point
        return None


def is_empty(seed: int, index: int, empty_fraction: float) -> bool:
    """Whether case `index` has no lesion. Such cases are spread evenly, so that any few cases have their share."""
    start = np.random.default_rng([seed, 1]).random()
    return int((index + 1) * empty_fraction + start) > int(index * empty_fraction + start)


def lobed(rng: np.random.Generator, centre: np.ndarray, radius_mm: float) -> Lobes:
    """An irregular mass of one to three lobes, about `radius_mm` in size."""
    blobs = []
    for lobe in range(rng.integers(1, 4)):
        direction = rng.normal(size=3)
        away = 0.0 if lobe == 0 else 0.75 * radius_mm
        place = centre + away * direction / np.linalg.norm(direction)
        size = radius_mm * (0.85 if lobe == 0 else rng.uniform(0.45, 0.7))
        blobs.append(Blob.random(rng, place, size * rng.uniform(0.75, 1.25, 3), depth=0.06, waviness=3.0))
    return Lobes(tuple(blobs))


def draw(rng: np.random.Generator, placement: Placement, radii_mm: tuple[float, float]) -> list[Lobes]:
    """Draws one to three lesions with radii in a range. Lesions without a free position are omitted."""
    shapes = []
    for _ in range(rng.choice([1, 2, 3], p=_COUNT_WEIGHTS)):
        radius = rng.uniform(*radii_mm)
        # Lesions may be near the skin, or partly outside the field of view.
        centre = placement.draw(1.25 * radius, depth_mm=0.7 * radius)
        if centre is not None:
            shapes.append(lobed(rng, centre, radius))
    return shapes
