"""Masks of several classes from their maps of probabilities, which come one after the other: memory holds few maps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from semicml_tf.labels import LabelDefinition
from semicml_tf.postprocessing.steps import NONE, Postprocessing, to_mask


def source_values(numbers: np.ndarray, labels: LabelDefinition) -> np.ndarray:
    """A label map with the first source value of each class, as the annotation has it.

    Args:
        numbers: uint8, the number of the class from 1.

    Returns:
        The smallest of uint8, int16 and int32 that holds all values; of the shape of `numbers`.
    """
    values = [0, *(own[0] for own in labels.classes.values())]
    limits = {dtype: np.iinfo(dtype) for dtype in (np.uint8, np.int16, np.int32)}
    dtype = next(dtype for dtype, limit in limits.items() if limit.min <= min(values) and max(values) <= limit.max)
    return np.array(values, dtype)[numbers]


class ClassMasks:
    """Thresholded regions, or the most likely of exclusive classes, each post-processed.

    Args:
        labels: the classes.
        thresholds: by region; {} for exclusive classes.
        steps: post-processing by class; a class without an entry has none.
        voxel_volume_ml: of the maps' grid; only post-processing needs it.
    """

    def __init__(
        self,
        labels: LabelDefinition,
        thresholds: Mapping[str, float],
        steps: Mapping[str, Postprocessing],
        voxel_volume_ml: float | None = None,
    ):
        self._labels, self._thresholds, self._steps = labels, thresholds, steps
        self._volume = voxel_volume_ml
        self._masks: list[np.ndarray] = []
        self._largest = self._numbers = self._sum = None
        self._count = 0

    def add(self, probabilities: np.ndarray, threshold: float | np.ndarray | None = None) -> None:
        """Takes the map of the next class, float32; the maps come in the order of the classes.

        Args:
            threshold: of all voxels, or of each; None takes the region's own. Exclusive classes have none.
        """
        name = self._labels.names[self._count]
        self._count += 1
        if not self._labels.exclusive:
            threshold = self._thresholds[name] if threshold is None else threshold
            self._masks.append(to_mask(probabilities, threshold, self._steps.get(name, NONE), self._volume))
        elif self._numbers is None:
            self._numbers = np.ones(probabilities.shape, np.uint8)
            self._largest, self._sum = probabilities.copy(), probabilities.copy()
        else:
            larger = probabilities > self._largest
            self._numbers[larger] = self._count
            np.maximum(self._largest, probabilities, out=self._largest)
            self._sum += probabilities

    def masks(self) -> list[np.ndarray]:
        """uint8 0/1 of each class."""
        if not self._labels.exclusive:
            return self._masks
        numbers = self.labels()
        return [(numbers == number).view(np.uint8) for number in range(1, self._count + 1)]

    def labels(self) -> np.ndarray:
        """The masks as one array: of exclusive classes (...) numbers from 1, of regions (regions, ...) 0/1.

        The only region has no axis of its own.
        """
        if not self._labels.exclusive:
            return self._masks[0] if self._count == 1 else np.stack(self._masks)
        if self._largest is not None:
            # The background has what is left to 1, and is preferred where no class is more likely.
            self._numbers[self._largest <= 1.0 - self._sum] = 0
            self._largest = self._sum = None
            self._correct()
        return self._numbers

    def _correct(self) -> None:
        """Post-processing of each class; a filled hole takes background alone."""
        before = self._numbers
        for number, name in enumerate(self._labels.names, start=1):
            steps = self._steps.get(name, NONE)
            if steps != NONE:
                mask = (before == number).view(np.uint8)
                corrected = steps.apply(mask, self._volume)
                if self._numbers is before:
                    self._numbers = before.copy()
                self._numbers[(mask == 1) & (corrected == 0)] = 0
                self._numbers[(before == 0) & (self._numbers == 0) & (corrected == 1)] = number
