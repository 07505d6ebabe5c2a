"""Detection of lesions: which connected components of the truth are found, and which of the prediction are false."""

from __future__ import annotations

import dataclasses

import numpy as np

from semicml_tf.geometry.box import bounding_box

# Voxels that share a face, an edge or a corner are connected: 26 neighbours.
CONNECTIVITY = 26


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


def count(prediction: np.ndarray, truth: np.ndarray) -> Lesions:
    """Counts the components of two masks of one shape, (i, j, k) of bool, and which components overlap.

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
    labels, count = ndimage.label(mask[box], np.ones((3, 3, 3), bool))
    return count, len(np.unique(labels[mask[box] & other[box]]))
