"""Mean Dice of the validation patients that have a lesion, on the network's grid."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from semicml_tf.inference import slices
from semicml_tf.inference.agreement import dice
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.records.shards import read_cases

THRESHOLDS = tuple(round(0.1 * number, 1) for number in range(1, 10))


@dataclasses.dataclass(frozen=True)
class Validated:
    """What a validation found.

    Attributes:
        dice: mean over patients with a lesion by modality, at that modality's threshold: checkpoint, teacher
            and threshold are chosen by it. A patient without one scores 1 or 0 by a single voxel, and a network
            that sees nothing would score best on it.
        thresholds: by modality, the probability from which a voxel is foreground.
        silent: modalities whose network saw nothing in any patient that has a lesion: the collapse
            that cross-modal terms are prone to.
        pictures: for a few cases, (images by modality, truth, probabilities by modality) of one slice.
    """

    dice: dict[str, float]
    thresholds: dict[str, float]
    silent: tuple[str, ...]
    pictures: dict[str, tuple[dict, np.ndarray, dict]]


class Validator:
    """Applies networks to the cases of the partition ``validation``.

    Args:
        threshold: on the probability; 0: the one of `THRESHOLDS` with the best mean Dice, for each
            modality. (A network taught by uncertain labels is unsure of what it sees: at 0.5 its masks
            are too small.)
        pictures: number of cases to return a slice of.
    """

    def __init__(self, info: DatasetInfo, window: int, threshold: float, *, batch_size: int = 16, pictures: int = 3):
        self._info, self._window, self._batch_size, self._pictures = info, window, batch_size, pictures
        self._thresholds = (threshold,) if threshold > 0 else THRESHOLDS
        self._cases = info.cases("validation")
        self._compiled: dict[str, tuple] = {}

    def _predict(self, name: str, network):
        """The network as a graph, traced once for as long as it is the same network."""
        held, function = self._compiled.get(name, (None, None))
        if held is not network:
            function = tf.function(lambda x: network(x, training=False), reduce_retracing=True)
            self._compiled[name] = (network, function)
        return function

    def __call__(self, networks: Mapping[str, Callable]) -> Validated:
        """Dice of each modality's network, a `keras.Model` (batch, window, window, 1) -> probabilities."""
        predict = {name: self._predict(name, network) for name, network in networks.items()}
        # By modality and case, one Dice for each threshold.
        scores: dict[str, dict[str, list[float]]] = {name: {} for name in networks}
        peaks = dict.fromkeys(networks, 0.0)
        pictures, lesions = {}, set()
        for record in read_cases(self._info, self._cases):
            maps = {}
            for name in networks:
                maps[name] = slices.probabilities(
                    record.images[name], self._window, predict[name], batch_size=self._batch_size
                )
                scores[name][record.case_id] = [dice(maps[name] >= cut, record.label) for cut in self._thresholds]
                if record.label.any():
                    lesions.add(record.case_id)
                    peaks[name] = max(peaks[name], float(maps[name].max()))
            if len(pictures) < self._pictures:
                index = int(record.label.sum(axis=(1, 2)).argmax())
                pictures[record.case_id] = (
                    {name: np.asarray(record.images[name][index], np.float32) for name in networks},
                    record.label[index],
                    {name: maps[name][index] for name in networks},
                )
        means = {
            name: np.mean([held[case] for case in held if case in lesions] or [[0.0] * len(self._thresholds)], axis=0)
            for name, held in scores.items()
        }
        chosen = {name: self._choose(held) for name, held in means.items()}
        cuts = {name: self._thresholds[number] for name, number in chosen.items()}
        return Validated(
            dice={name: float(held[chosen[name]]) for name, held in means.items()},
            thresholds=cuts,
            silent=tuple(name for name in networks if lesions and peaks[name] < cuts[name]),
            pictures=pictures,
        )

    def _choose(self, means: np.ndarray) -> int:
        """Number of the threshold with the best mean; of equals the one nearest 0.5."""
        rounded = np.round(means, 6)
        return min(range(len(rounded)), key=lambda number: (-rounded[number], abs(self._thresholds[number] - 0.5)))
