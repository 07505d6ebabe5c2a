"""Detects masks whose voxels were flipped, transposed or shifted although their headers are correct.

Headers do not show such a mistake. It is reported if all masks fit the truth much better after the same flip,
transposition or shift. Only cases with foreground in both masks are compared, over all classes together.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from semicml_tf.geometry.box import bounding_box
from semicml_tf.inference.agreement import dice_from_counts

_MOST_VOXELS = 20_000  # of a prediction that are compared; of larger predictions, every n-th voxel
_MOST_CASES = 50
_MOST_STEPS = 10
# The mean DSC must rise by more than this, and the DSC of two thirds of the cases by more than half of it.
RISE = 0.2
# A few cases may fit better by chance. With fewer than `_FEW` cases, the mean DSC must also exceed `_SURE`.
_FEW, _SURE = 3, 0.7

Orientation = tuple[tuple[int, int, int], tuple[bool, bool, bool]]
_AS_IT_IS: Orientation = ((0, 1, 2), (False, False, False))


@dataclasses.dataclass(frozen=True, eq=False)
class _Case:
    """The masks of a case in compact form.

    Attributes:
        points: (voxels, 3) indices of predicted voxels.
        predicted, true: numbers of foreground voxels.
        box: of the truth: first index and shape.
        truth: the truth in its box, as packed bits.
        offset: (3,) centre of the truth minus centre of the prediction, in voxels.
        by_orientation: DSC after each flip and transposition that keeps the shape.
    """

    points: np.ndarray
    predicted: int
    true: int
    box: tuple[np.ndarray, tuple[int, int, int]]
    truth: np.ndarray
    offset: np.ndarray
    by_orientation: dict[Orientation, float]

    def shifted(self, shift: np.ndarray) -> float:
        """DSC after the prediction is moved by whole voxels."""
        start, shape = self.box
        places = self.points + shift - start
        inside = places[np.all((places >= 0) & (places < shape), axis=1)]
        truth = np.unpackbits(self.truth, count=int(np.prod(shape))).reshape(shape)
        return _dice(int(np.count_nonzero(truth[tuple(inside.T)])), self)


def _dice(hits: int, case: _Case) -> float:
    return float(dice_from_counts(hits / len(case.points) * case.predicted, case.predicted, case.true))


class Misplacement:
    """Collects cases one by one, and reports the flip, transposition or shift that would explain low scores."""

    def __init__(self):
        self._cases: list[_Case] = []

    def add(self, prediction: np.ndarray, truth: np.ndarray) -> None:
        """Adds a case; both masks are bool, of the same shape, on the patient's own grid."""
        if len(self._cases) >= _MOST_CASES:
            return
        box, predicted_box = bounding_box(truth), bounding_box(prediction)
        if box is None or predicted_box is None:
            return
        start = np.array([part.start for part in box])
        points = np.argwhere(prediction[predicted_box]) + np.array([part.start for part in predicted_box])
        inner = truth[box]
        case = _Case(
            points=points[:: -(-len(points) // _MOST_VOXELS)].astype(np.int32),
            predicted=len(points),
            true=int(np.count_nonzero(inner)),
            box=(start, inner.shape),
            truth=np.packbits(inner),
            offset=np.argwhere(inner).mean(axis=0) + start - points.mean(axis=0),
            by_orientation={},
        )
        for orientation, places in _reoriented(case.points, truth.shape):
            hits = int(np.count_nonzero(truth[tuple(places.T)]))
            case.by_orientation[orientation] = _dice(hits, case)
        self._cases.append(case)

    def cause(self) -> str | None:
        """A warning for readers of the scores; None if no flip, transposition or shift explains them."""
        if not self._cases:
            return None
        before = [case.by_orientation[_AS_IT_IS] for case in self._cases]
        common = set.intersection(*(set(case.by_orientation) for case in self._cases))
        after = {
            orientation: [case.by_orientation[orientation] for case in self._cases] for orientation in sorted(common)
        }
        best = max(after, key=lambda orientation: np.mean(after[orientation]))
        shift, moved = self._best_shift()
        causes = [(_words(best), after[best]), (_shift_words(shift), moved)]
        words, dice = max(causes, key=lambda pair: np.mean(pair[1]))
        if not _explains(before, dice):
            return None
        return (
            f"The masks seem to be misplaced: mean DSC rises from {np.mean(before):.3f} to {np.mean(dice):.3f} if "
            f"{words}. The headers do not show this. Check how the tool wrote its arrays. The scores here are those of "
            "the masks without this change."
        )

    def _best_shift(self) -> tuple[np.ndarray, list[float]]:
        """The shift in voxels with the highest mean DSC, and the DSC of each case after it.

        The search starts at the median offset, which is wrong by a few voxels if the shift moved voxels out of the
        volume.
        """
        shift = np.rint(np.median([case.offset for case in self._cases], axis=0)).astype(int)
        dice = [case.shifted(shift) for case in self._cases]
        for _ in range(_MOST_STEPS):
            steps = [shift + step for step in (*np.eye(3, dtype=int), *-np.eye(3, dtype=int))]
            tried = [[case.shifted(step) for case in self._cases] for step in steps]
            best = int(np.argmax([np.mean(values) for values in tried]))
            if np.mean(tried[best]) <= np.mean(dice):
                break
            shift, dice = steps[best], tried[best]
        return shift, dice


def _explains(before: Sequence[float], after: Sequence[float]) -> bool:
    mean = float(np.mean(after))
    better = sum(new - old > RISE / 2 for old, new in zip(before, after))
    return (
        mean - float(np.mean(before)) > RISE and 3 * better >= 2 * len(before) and (len(before) >= _FEW or mean > _SURE)
    )


def _reoriented(points: np.ndarray, shape: tuple[int, int, int]):
    """Yields each orientation that keeps the shape, with the reoriented points."""
    for order in itertools.permutations(range(3)):
        if tuple(shape[axis] for axis in order) != shape:
            continue
        turned = points[:, order]
        for flips in itertools.product((False, True), repeat=3):
            yield (order, flips), np.where(flips, np.array(shape) - 1 - turned, turned)


def _words(orientation: Orientation) -> str:
    order, flips = orientation
    parts = []
    if order != (0, 1, 2):
        parts.append(f"their axes are put in the order {', '.join(map(str, order))}")
    if any(flips):
        flipped = [str(axis) for axis, flip in enumerate(flips) if flip]
        parts.append(f"they are flipped along axis {' and '.join(flipped)}")
    return " and ".join(parts) or "nothing is changed"


def _shift_words(shift: np.ndarray) -> str:
    return f"they are shifted by ({', '.join(map(str, shift))}) voxels, as by a wrong origin"
