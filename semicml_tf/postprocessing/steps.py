"""Post-processing of a mask on the patient's own grid: fill holes, drop small components, keep the largest one.

The steps have this order. Sizes are in ml, so that they do not depend on the grid. Foreground is connected through
faces, edges and corners (26 neighbours), background through faces only (6 neighbours).
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.geometry.mask import binary

_REMEDY = "For example none, min_ml=0.5, or fill_holes+min_ml=0.5+largest"


@dataclasses.dataclass(frozen=True)
class Postprocessing:
    """The steps of a post-processing.

    Attributes:
        fill_holes: background that is enclosed by foreground in 3-D becomes foreground.
        min_ml: components with a smaller volume become background; 0 keeps all.
        largest: all components except the largest become background. Of equal ones, the first in index order stays.
    """

    fill_holes: bool = False
    min_ml: float = 0.0
    largest: bool = False

    @classmethod
    def parse(cls, text: str) -> Postprocessing:
        """Reads the text of a post-processing: ``none``, or steps joined by ``+``, in any order.

        Raises:
            UserError: a step is unknown or repeated, or a volume is no positive number.
        """
        steps: dict[str, bool | float] = {}
        for part in text.strip().split("+"):
            name, equals, value = part.strip().partition("=")
            if name == "none" and text.strip() == "none":
                return cls()
            if name in steps or name not in ("fill_holes", "min_ml", "largest") or bool(equals) != (name == "min_ml"):
                raise UserError(f"expected post-processing steps, got '{text}'", remedy=_REMEDY)
            steps[name] = _volume(value, text) if equals else True
        return cls(**steps)

    def __str__(self) -> str:
        steps = [
            *(["fill_holes"] if self.fill_holes else []),
            *([f"min_ml={self.min_ml:.15g}"] if self.min_ml > 0 else []),
            *(["largest"] if self.largest else []),
        ]
        return "+".join(steps) or "none"

    def apply(self, mask: np.ndarray, voxel_volume_ml: float) -> np.ndarray:
        """The corrected mask.

        Args:
            mask: 3-D, 0/1. The array is not changed.
            voxel_volume_ml: volume of one voxel.

        Returns:
            uint8 0/1 of the shape of `mask`.

        Raises:
            ValueError: the mask has values other than 0 and 1.
        """
        # Imported here, because scipy takes half a second to import, which `--help` does not need.
        from scipy import ndimage

        whole = binary(mask).copy()
        if self == NONE or not whole.any():
            return whole
        # Component labels take four bytes per voxel, so only the bounding box of the foreground is labelled.
        box = ndimage.find_objects(whole)[0]
        part = whole[box].astype(bool)
        if self.fill_holes:
            part = ndimage.binary_fill_holes(part)
        if self.min_ml > 0 or self.largest:
            labels, count = ndimage.label(part, structure=np.ones((3, 3, 3), bool))
            sizes = np.bincount(labels.ravel(), minlength=count + 1)
            sizes[0] = 0
            # The tolerance keeps a component of exactly the limit in spite of rounding.
            kept = sizes * voxel_volume_ml >= self.min_ml * (1 - 1e-9)
            kept[0] = False
            if self.largest:
                kept &= np.arange(count + 1) == sizes.argmax()
            part = kept[labels]
        whole[box] = part
        return whole


NONE = Postprocessing()


def to_mask(
    probabilities: np.ndarray,
    threshold: float | np.ndarray,
    steps: Postprocessing = NONE,
    voxel_volume_ml: float | None = None,
) -> np.ndarray:
    """The mask of a probability map, for prediction and for evaluation.

    Args:
        probabilities: 3-D float32, on the patient's own grid.
        threshold: voxels of at least this probability are foreground; a number, or an array with one per voxel.
        steps: post-processing of the mask.
        voxel_volume_ml: volume of one voxel; `steps` other than `NONE` need it.

    Returns:
        uint8 0/1 of the shape of `probabilities`.
    """
    mask = (probabilities >= np.asarray(threshold, np.float32)).view(np.uint8)
    return mask if steps == NONE else steps.apply(mask, voxel_volume_ml)


def largest_class(probabilities: np.ndarray) -> np.ndarray:
    """The number of the most likely exclusive class, from 1, or 0 if the background is at least as likely.

    Args:
        probabilities: (classes, ...), without the background, whose probability is 1 minus their sum.

    Returns:
        uint8 (...).
    """
    best = probabilities.argmax(axis=0)
    largest = np.take_along_axis(probabilities, best[np.newaxis], axis=0)[0]
    return np.where(largest > 1.0 - probabilities.sum(axis=0), best + 1, 0).astype(np.uint8)


def _volume(value: str, text: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise UserError(f"expected a volume in ml above 0, got '{value}' in '{text}'", remedy=_REMEDY)
    return number
