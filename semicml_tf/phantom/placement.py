"""Where structures go: anywhere in the field of view and the body, but not into each other."""

from __future__ import annotations

import numpy as np

from semicml_tf.phantom.scan import Scan

_TRIES = 60


class Placement:
    """Draws places for round structures one after the other.

    Places are uniform over the field of view, so the field of view tells nothing of where a lesion is.

    Args:
        rng: source of randomness.
        scan: the field of view.
        body: shape that all must lie in.
    """

    def __init__(self, rng: np.random.Generator, scan: Scan, body):
        self._rng, self._scan, self._body = rng, scan, body
        self._taken: list[tuple[np.ndarray, float]] = []

    def reserve(self, centre: np.ndarray, radius_mm: float) -> None:
        """Keeps later structures out of this ball."""
        self._taken.append((np.asarray(centre, float), radius_mm))

    def draw(self, radius_mm: float, *, depth_mm: float | None = None, margin_mm: float = 0.0) -> np.ndarray | None:
        """A free place, now taken, for a ball of `radius_mm`; None where there is none.

        Args:
            depth_mm: least distance of the centre from the body's surface; by default 0.8 radii.
            margin_mm: how far the centre may lie outside the field of view.
        """
        depth = 0.8 * radius_mm if depth_mm is None else depth_mm
        for _ in range(_TRIES):
            point = self._scan.random_point(self._rng, margin_mm)
            deep = self._body.distance_mm(point[None])[0] <= -depth
            if deep and all(np.linalg.norm(point - c) > radius_mm + r for c, r in self._taken):
                self.reserve(point, radius_mm)
                return point
        return None
