"""Lesion by lesion: which connected components of the truth a prediction finds, and which of its own are false."""

from __future__ import annotations

import dataclasses

import numpy as np

# Voxels that share a face, an edge or a corner belong together: 26 neighbours.
CONNECTIVITY = 26


@dataclasses.dataclass(frozen=True)
class Lesions:
    """Connected components of two masks, counted.

    Attributes:
        true: components of the truth.
        predicted: components of the prediction.
        found: components of the truth of which at least one voxel is predicted.
        missed: the others: ``true - found``.
        false: components of the prediction that touch no voxel of the truth.
    """

    true: int
    predicted: int
    found: int
    missed: int
    false: int


def count(prediction: np.ndarray, truth: np.ndarray) -> Lesions:
    """Counts the components of two masks of one shape, (i, j, k) of bool, and which of them meet.

    One predicted component can find several lesions, and several can share one: nothing is matched one to one.
    """
    from scipy import ndimage

    together = np.ones((3, 3, 3), bool)
    true, true_count = ndimage.label(truth, together)
    predicted, predicted_count = ndimage.label(prediction, together)
    both = prediction & truth
    found, right = len(np.unique(true[both])), len(np.unique(predicted[both]))
    return Lesions(true_count, predicted_count, found, true_count - found, predicted_count - right)
