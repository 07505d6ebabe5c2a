"""Mean Dice of the validation patients, on the network's grid."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from semicml_tf.inference import slices
from semicml_tf.inference.agreement import dice
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.records.shards import read_cases


@dataclasses.dataclass(frozen=True)
class Validated:
    """What a validation found.

    Attributes:
        dice: mean over patients by modality.
        per_case: ``{modality: {case: Dice}}``.
        silent: modalities whose network saw nothing in any patient that has a lesion: the collapse
            that cross-modal terms are prone to.
        pictures: for a few cases, (images by modality, truth, probabilities by modality) of one slice.
    """

    dice: dict[str, float]
    per_case: dict[str, dict[str, float]]
    silent: tuple[str, ...]
    pictures: dict[str, tuple[dict, np.ndarray, dict]]


class Validator:
    """Applies networks to the cases of the partition ``validation``.

    Args:
        pictures: number of cases to return a slice of.
    """

    def __init__(self, info: DatasetInfo, window: int, batch_size: int = 16, pictures: int = 3):
        self._info, self._window, self._batch_size, self._pictures = info, window, batch_size, pictures
        self._cases: Sequence = info.cases("validation")
        self._compiled: dict[str, tuple] = {}

    def _predict(self, name: str, network):
        """The network as a graph, traced once for as long as it is the same network."""
        held, function = self._compiled.get(name, (None, None))
        if held is not network:
            function = tf.function(lambda x: network(x, training=False), reduce_retracing=True)
            self._compiled[name] = (network, function)
        return function

    def __call__(self, networks: Mapping[str, tf.Module]) -> Validated:
        """Dice of each modality's network, a keras model (batch, window, window, 1) -> probabilities."""
        predict = {name: self._predict(name, network) for name, network in networks.items()}
        per_case: dict[str, dict[str, float]] = {name: {} for name in networks}
        seen = dict.fromkeys(networks, False)
        pictures = {}
        for record in read_cases(self._info, self._cases):
            maps = {}
            for name in networks:
                maps[name] = slices.probabilities(
                    record.images[name], self._window, predict[name], batch_size=self._batch_size
                )
                mask = maps[name] >= 0.5
                per_case[name][record.case_id] = dice(mask, record.label)
                seen[name] = seen[name] or bool(mask.any()) or not record.label.any()
            if len(pictures) < self._pictures:
                index = int(record.label.sum(axis=(1, 2)).argmax())
                pictures[record.case_id] = (
                    {name: np.asarray(record.images[name][index], np.float32) for name in networks},
                    record.label[index],
                    {name: maps[name][index] for name in networks},
                )
        means = {name: float(np.mean(list(scores.values()))) for name, scores in per_case.items()}
        return Validated(means, per_case, tuple(name for name in networks if not seen[name]), pictures)
