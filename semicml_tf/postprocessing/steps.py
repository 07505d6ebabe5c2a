"""Corrections of a mask on the patient's own grid: cavities filled, small components dropped, the largest kept.

In this order. Sizes are in ml, so that a setting means the same on every grid. Foreground is connected through faces,
edges and corners (26 neighbours), background through faces alone (6 neighbours).
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
    """What is done to a mask.

    Attributes:
        fill_holes: background that foreground encloses on all sides, in 3-D, becomes foreground.
        min_ml: components of a smaller volume become background; 0 keeps all.
        largest: all components but the largest become background; of equals the first in index order stays.
    """

    fill_holes: bool = False
    min_ml: float = 0.0
    largest: bool = False

    @classmethod
    def parse(cls, text: str) -> Postprocessing:
        """Reads what `str` gives: ``none``, or steps joined by ``+``, in any order.

        Raises:
            UserError: an unknown or repeated step, or a volume that is no positive number.
        """
        found: dict[str, bool | float] = {}
        for part in text.strip().split("+"):
            name, equals, value = part.strip().partition("=")
            if name == "none" and text.strip() == "none":
                return cls()
            if name in found or name not in ("fill_holes", "min_ml", "largest") or bool(equals) != (name == "min_ml"):
                raise UserError(f"expected post-processing steps, got '{text}'", remedy=_REMEDY)
            found[name] = _volume(value, text) if equals else True
        return cls(**found)

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
        # `scipy` takes half a second to import, which --help must not wait for.
        from scipy import ndimage

        whole = binary(mask).copy()
        if self == NONE or not whole.any():
            return whole
        # Labels take four bytes a voxel: only the box that holds foreground is labelled.
        box = ndimage.find_objects(whole)[0]
        part = whole[box].astype(bool)
        if self.fill_holes:
            part = ndimage.binary_fill_holes(part)
        if self.min_ml > 0 or self.largest:
            labels, count = ndimage.label(part, structure=np.ones((3, 3, 3), bool))
            sizes = np.bincount(labels.ravel(), minlength=count + 1)
            sizes[0] = 0
            # A component of exactly the limit stays, whatever the rounding of a voxel's volume.
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
    """The mask of a map of probabilities, for prediction and for evaluation.

    Args:
        probabilities: 3-D float32, on the patient's own grid.
        threshold: a voxel of at least this probability is foreground; a number, or an array with one for each voxel.
        steps: post-processing of the mask.
        voxel_volume_ml: volume of one voxel; `steps` other than `NONE` need it.

    Returns:
        uint8 0/1 of the shape of `probabilities`.
    """
    mask = (probabilities >= np.asarray(threshold, np.float32)).view(np.uint8)
    return mask if steps == NONE else steps.apply(mask, voxel_volume_ml)


def largest_class(probabilities: np.ndarray) -> np.ndarray:
    """The number of the most likely of exclusive classes, from 1; 0 where the background is at least as likely.

    Args:
        probabilities: (classes, ...). The background's is what is left to 1.

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
