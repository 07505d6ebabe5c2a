"""Two masks of one patient, and what several metrics read of them, computed once."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from semicml_tf.evaluation import lesions, surfaces
from semicml_tf.geometry.box import bounding_box
from semicml_tf.geometry.grid import Grid

SURFACE_TOLERANCE_MM = 2.0


@dataclasses.dataclass(frozen=True)
class MaskPair:
    """A predicted mask and the annotator's, cropped to the box that holds both: outside there is nothing to count.

    Attributes:
        prediction, truth: (i, j, k) of bool.
        grid: the patient's own, of the whole volume.
        surface_tolerance_mm: surfaces up to so far apart count as one in the surface DSC.
    """

    prediction: np.ndarray
    truth: np.ndarray
    grid: Grid
    surface_tolerance_mm: float = SURFACE_TOLERANCE_MM

    @classmethod
    def of(
        cls, prediction: np.ndarray, truth: np.ndarray, grid: Grid, surface_tolerance_mm: float = SURFACE_TOLERANCE_MM
    ) -> MaskPair:
        """The pair of two masks of ``grid.shape``; nonzero is foreground.

        Raises:
            ValueError: a mask has another shape.
        """
        if prediction.shape != grid.shape or truth.shape != grid.shape:
            raise ValueError(f"expected masks of shape {grid.shape}, got {prediction.shape} and {truth.shape}")
        prediction, truth = prediction != 0, truth != 0
        box = bounding_box(prediction | truth)
        if box is not None:
            prediction, truth = prediction[box], truth[box]
        return cls(prediction, truth, grid, surface_tolerance_mm)

    @functools.cached_property
    def predicted(self) -> int:
        """Voxels of the prediction."""
        return int(np.count_nonzero(self.prediction))

    @functools.cached_property
    def true(self) -> int:
        """Voxels of the truth."""
        return int(np.count_nonzero(self.truth))

    @functools.cached_property
    def hits(self) -> int:
        """Voxels of both."""
        return int(np.count_nonzero(self.prediction & self.truth))

    @property
    def outcome(self) -> str:
        """``both present``, ``both empty``, ``missed`` (truth alone) or ``false alarm`` (prediction alone)."""
        if self.predicted:
            return "both present" if self.true else "false alarm"
        return "missed" if self.true else "both empty"

    @functools.cached_property
    def surface_distances(self) -> dict[str, np.ndarray]:
        """See `surfaces.surface_distances`; neither mask may be empty."""
        return surfaces.surface_distances(self.prediction, self.truth, self.grid.spacing_mm)

    @functools.cached_property
    def lesions(self) -> lesions.Lesions:
        """Connected components of both masks, counted."""
        return lesions.count(self.prediction, self.truth)
