"""Two masks of one patient, and the quantities that several metrics share: voxels, surfaces, lesions."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from semicml_tf.evaluation import surfaces
from semicml_tf.geometry.box import bounding_box
from semicml_tf.geometry.grid import Grid

SURFACE_TOLERANCE_MM = 2.0


@dataclasses.dataclass(frozen=True)
class Lesions:
    """Connected components of two masks, counted.

    Attributes:
        true: components of the truth.
        predicted: components of the prediction.
        found: components of the truth with at least one predicted voxel.
        missed: ``true - found``.
        false: components of the prediction that touch no voxel of the truth.
    """

    true: int
    predicted: int
    found: int
    missed: int
    false: int


@dataclasses.dataclass(frozen=True)
class MaskPair:
    """A predicted mask and the annotator's mask, cropped to their common bounding box.

    Attributes:
        prediction, truth: (i, j, k) of bool.
        grid: the patient's own, of the whole volume.
        surface_tolerance_mm: distance within which two surfaces count as equal in the surface DSC.
    """

    prediction: np.ndarray
    truth: np.ndarray
    grid: Grid
    surface_tolerance_mm: float = SURFACE_TOLERANCE_MM

    @classmethod
    def of(
        cls, prediction: np.ndarray, truth: np.ndarray, grid: Grid, surface_tolerance_mm: float = SURFACE_TOLERANCE_MM
    ) -> MaskPair:
        """Makes the pair of two masks of ``grid.shape``; nonzero is foreground.

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
    def lesions(self) -> Lesions:
        """Connected components of both masks, counted."""
        return _count_lesions(self.prediction, self.truth)


def _count_lesions(prediction: np.ndarray, truth: np.ndarray) -> Lesions:
    """Counts the components of two masks of one shape, (i, j, k) of bool, and the components that overlap.

    One predicted component can find several lesions, and several components can find the same lesion.
    """
    true, found = _components(truth, prediction)
    predicted, right = _components(prediction, truth)
    return Lesions(true, predicted, found, true - found, predicted - right)


def _components(mask: np.ndarray, other: np.ndarray) -> tuple[int, int]:
    """The number of components of a mask, and how many of them share a voxel with `other`."""
    from scipy import ndimage

    box = bounding_box(mask)
    if box is None:
        return 0, 0
    # Voxels that share a face, an edge or a corner are connected: 26 neighbours.
    labels, count = ndimage.label(mask[box], np.ones((3, 3, 3), bool))
    return count, len(np.unique(labels[mask[box] & other[box]]))
