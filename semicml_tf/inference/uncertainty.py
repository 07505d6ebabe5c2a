"""How sure a prediction is: entropy, mutual information of several draws, disagreement of modalities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def binary_entropy(probabilities: np.ndarray) -> np.ndarray:
    """Entropy of foreground or background in bits: ``H(p) = -p log2 p - (1 - p) log2 (1 - p)``, 0 at p = 0 and 1.

    Source: Shannon 1948, doi 10.1002/j.1538-7305.1948.tb01338.x, section 6.

    Args:
        probabilities: from 0 to 1, at least 1-D.

    Returns:
        float32 from 0 to 1 of the same shape.
    """
    from scipy.special import entr

    found = np.empty(np.shape(probabilities), np.float32)
    for index, part in enumerate(probabilities):  # one plane after the other: volumes are large
        part = np.clip(np.asarray(part, np.float64), 0.0, 1.0)  # a sum of float32 weights may end above 1
        found[index] = (entr(part) + entr(1.0 - part)) / np.log(2.0)
    return found


class Moments:
    """Draws of the classes' probability maps summed up, one after the other.

    A single draw is kept as it is: its maps are made when they are asked for.

    Args:
        entropies: whether `mutual_information` will be asked for, which takes a further volume per class.
    """

    def __init__(self, *, entropies: bool = False):
        self.count = 0
        self._entropies, self._is_mean = entropies, False
        self._maps: Sequence[np.ndarray] = ()
        self._entropy_sums: list[np.ndarray] = []

    def add(self, draw: Sequence[np.ndarray]) -> None:
        """Takes a map of probabilities per class, float32; all draws are alike. The first becomes the sum itself."""
        if self._is_mean:
            raise ValueError("expected no further map after the mean was taken")
        if self.count == 0:
            self._maps = list(draw) if self._entropies else draw
            self._entropy_sums = [binary_entropy(one) for one in self._maps] if self._entropies else []
        else:
            if self.count == 1:
                self._maps = list(self._maps)
            for number, one in enumerate(draw):
                self._maps[number] += one
                if self._entropies:
                    self._entropy_sums[number] += binary_entropy(one)
        self.count += 1

    def mean(self, number: int = 0) -> np.ndarray:
        """The mean probability of a class, float32; of a single draw its own values."""
        if not self._is_mean and self.count > 1:
            for total in (*self._maps, *self._entropy_sums):
                total /= np.float32(self.count)
        self._is_mean = True
        return self._maps[number]

    def mutual_information(self, number: int = 0) -> np.ndarray:
        """``H(mean p) - mean H(p)`` of a class in bits, float32: what the draws know of each other's answer.

        0 where all agree, however unsure they are; 1 where they are sure and half of them say the opposite. Source:
        BALD, Houlsby et al. 2011, arXiv 1112.5745, equation 2; Gal, Islam and Ghahramani 2017, arXiv 1703.02910.
        """
        found = binary_entropy(self.mean(number))
        found -= self._entropy_sums[number]
        return np.maximum(found, 0.0, out=found)  # float32's rounding alone makes it negative


def disagreement(maps: Sequence[np.ndarray], covered: np.ndarray) -> np.ndarray:
    """Largest difference of the modalities' foreground probabilities; of two maps ``|p_1 - p_2|``.

    Args:
        maps: probabilities on one grid, at least two.
        covered: bool of that shape: where all images reach. Elsewhere there is nothing to compare: 0.

    Returns:
        float32 from 0 to 1.
    """
    low, high = maps[0].copy(), maps[0].copy()
    for other in maps[1:]:
        np.minimum(low, other, out=low)
        np.maximum(high, other, out=high)
    high -= low
    high[~covered] = 0.0
    return high
