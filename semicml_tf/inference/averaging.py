"""Averages at test time: over mirror images of each input, and over inputs that overlap."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np
from typing_extensions import TypedDict

from semicml_tf.configuration import option

MAX_OVERLAP = 0.9


class AveragingRecord(TypedDict, total=False):
    """What results record of the options: those that differ from their defaults."""

    flips: bool
    overlap: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Averaging:
    """The options of all commands that apply networks to volumes. The same for slices and for patches."""

    flips: bool = option(
        False,
        help="Mean over each input of the network and its mirror images: four passes for slices, eight for patches of "
        "three dimensions.",
        group="Test time",
    )
    overlap: float | None = option(
        None,
        help="Fraction of an input that neighbouring inputs have in common, at least. The default is 0.25 for slices "
        "and 0.5 for patches of three dimensions. Half of the input is slower and often smoother.",
        low=0.0,
        high=MAX_OVERLAP,
        group="Test time",
    )

    @property
    def record(self) -> AveragingRecord:
        """What results record: the options that differ from their defaults."""
        flips: AveragingRecord = {"flips": True} if self.flips else {}
        return flips if self.overlap is None else {**flips, "overlap": self.overlap}

    @property
    def suffix(self) -> str:
        """The end of a default folder's name, such as ``-flips-overlap0.75``; empty for the default options."""
        flips = "-flips" if self.flips else ""
        return flips if self.overlap is None else f"{flips}-overlap{self.overlap:g}"


BY_DEFAULT = Averaging()


def mean_over_flips(predict: Callable[[np.ndarray], np.ndarray], batch: np.ndarray) -> np.ndarray:
    """The mean of a network's answers over all flips of a batch; each answer is flipped back.

    Args:
        predict: maps (batch, *space, channels) to (batch, *space, classes).
        batch: (batch, *space, channels); all axes of space are mirrored.
    """
    space = range(1, batch.ndim - 1)
    flips = [axes for number in range(len(space) + 1) for axes in itertools.combinations(space, number)]
    total = np.float32(0)
    for axes in flips:
        total = total + np.flip(predict(np.ascontiguousarray(np.flip(batch, axes))), axes)
    return total / np.float32(len(flips))
