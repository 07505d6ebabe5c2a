"""Mean Dice of the validation patients who have a class, on the network's grid."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from semicml_tf.geometry.patch import Patch
from semicml_tf.inference import slices
from semicml_tf.inference.agreement import dice
from semicml_tf.input.complete_cases import lacking
from semicml_tf.postprocessing.steps import largest_class
from semicml_tf.records.case_record import CaseRecord
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.records.shards import read_cases

Observer = Callable[[CaseRecord, Mapping[str, np.ndarray]], None]
THRESHOLDS = tuple(round(0.1 * number, 1) for number in range(1, 10))


@dataclasses.dataclass(frozen=True)
class Validated:
    """What a validation found.

    Attributes:
        dice: by modality and class, the mean over the patients who have the class, at its threshold: checkpoint,
            teacher and thresholds are chosen by it. A patient without the class scores 1 or 0 by a single voxel, and a
            network that sees nothing would score best on it.
        thresholds: by modality, the probability from which a voxel belongs to each region; () for exclusive classes.
        silent: modalities and classes whose network saw nothing in any patient who has the class: the collapse that
            cross-modal terms are prone to.
        pictures: for a few cases, (images by modality, truth, probabilities by modality) of one slice; truth and
            probabilities are (classes, rows, columns).
        patients: by modality, the number of patients who have the modality; {} if every patient has all of them.
    """

    dice: dict[str, dict[str, float]]
    thresholds: dict[str, tuple[float, ...]]
    silent: tuple[tuple[str, str], ...]
    pictures: dict[str, tuple[dict, np.ndarray, dict]]
    patients: dict[str, int] = dataclasses.field(default_factory=dict)

    @property
    def means(self) -> dict[str, float]:
        """The mean over the classes by modality."""
        return {name: float(np.mean(list(of_class.values()))) for name, of_class in self.dice.items()}

    def columns(self) -> dict[str, float]:
        """The columns of the history: ``dice_MODALITY`` and ``threshold_MODALITY``, of several classes for each.

        ``patients_MODALITY`` follows where a patient lacks a modality.
        """
        columns = {f"dice_{name}": value for name, value in self.means.items()}
        for name, of_class in self.dice.items():
            columns |= {f"dice_{name}_{one}": value for one, value in of_class.items() if len(of_class) > 1}
        for name, values in self.thresholds.items():
            for one, value in zip(self.dice[name], values):
                columns[f"threshold_{name}" + (f"_{one}" if len(values) > 1 else "")] = value
        return columns | {f"patients_{name}": count for name, count in self.patients.items()}

    def stored_threshold(self, name: str) -> dict[str, float | dict[str, float]]:
        """A modality's thresholds as ``best`` of run.json holds them."""
        values = self.thresholds[name]
        if not values:
            return {}
        return {"threshold": values[0] if len(values) == 1 else dict(zip(self.dice[name], values))}

    def numbers(self) -> list[float]:
        """What is chosen by it, as one list; see `with_numbers`."""
        dice = [value for of_class in self.dice.values() for value in of_class.values()]
        return dice + [value for values in self.thresholds.values() for value in values]

    def with_numbers(self, numbers: Sequence[float]) -> Validated:
        """This with the `numbers` of another worker, which validated the same networks."""
        rest = iter(numbers)
        dice = {name: {one: next(rest) for one in of_class} for name, of_class in self.dice.items()}
        cuts = {name: tuple(next(rest) for _ in values) for name, values in self.thresholds.items()}
        return dataclasses.replace(self, dice=dice, thresholds=cuts)

    def silence(self, remedy: str) -> list[str]:
        """An alarm for the networks that see nothing of a class; [] if there are none."""
        by_class: dict[str, list[str]] = {}
        for name, one in self.silent:
            by_class.setdefault(one, []).append(name)
        several = any(len(of_class) > 1 for of_class in self.dice.values())
        return [
            f"the {' and '.join(names)} network predicts no {one if several else 'foreground'} in any validation "
            f"patient; if this continues, {remedy}"
            for one, names in by_class.items()
        ]


class Validator:
    """Applies each network to the cases of the partition ``validation`` that have its modality.

    Args:
        patch: what one input of the networks covers.
        threshold: on the probability; 0: the one of `THRESHOLDS` with the best mean Dice, for each modality and region.
            (A network taught by uncertain labels is unsure of what it sees: at 0.5 its masks are too small.) Exclusive
            classes have none: the largest probability counts, the background's included.
        pictures: number of cases to return a slice of.
    """

    def __init__(self, info: DatasetInfo, patch: Patch, threshold: float, *, batch_size: int = 16, pictures: int = 3):
        self._info, self._patch, self._batch_size, self._pictures = info, patch, batch_size, pictures
        self._thresholds = (threshold,) if threshold > 0 else THRESHOLDS
        if info.labels.exclusive:
            self._thresholds = (0.5,)
        self._cases = info.cases("validation")
        self._incomplete = any(lacking(info, case) for case in self._cases)
        self._compiled: dict[str, tuple] = {}

    def _predict(self, name: str, network):
        """The network as a graph, traced once for as long as it is the same network."""
        held, function = self._compiled.get(name, (None, None))
        if held is not network:
            function = tf.function(lambda x: network(x, training=False), reduce_retracing=True)
            self._compiled[name] = (network, function)
        return function

    def __call__(self, networks: Mapping[str, Callable], observe: Observer | None = None) -> Validated:
        """Dice of each modality's network, a `keras.Model` (batch, *space, channels) -> probabilities.

        Args:
            observe: receives each case: its record, and maps (classes, slices, rows, columns) by modality.
        """
        predict = {name: self._predict(name, network) for name, network in networks.items()}
        labels = self._info.labels
        # By modality and class, for each case that has the class, one Dice for each threshold.
        scores = {name: {one: [] for one in labels.names} for name in networks}
        seen = {name: dict.fromkeys(labels.names, False) for name in networks}
        peaks = {name: dict.fromkeys(labels.names, 0.0) for name in networks}
        pictures = {}
        for record in read_cases(self._info, self._cases):
            ignored = labels.ignored(record.label)
            maps = {}
            for name in (name for name in networks if name in record.images):
                maps[name] = slices.probabilities(
                    record.images[name],
                    self._patch,
                    predict[name],
                    classes=len(labels.names),
                    batch_size=self._batch_size,
                )
                numbers = largest_class(maps[name]) if labels.exclusive else None
                for number, one in enumerate(labels.names):
                    truth = labels.mask(record.label, one)
                    if not truth.any():
                        continue
                    masks = self._masks(maps[name], numbers, number, ignored)
                    scores[name][one].append([dice(mask, truth) for mask in masks])
                    peaks[name][one] = max(peaks[name][one], float(maps[name][number].max()))
                    seen[name][one] |= labels.exclusive and bool(masks[0].any())
            if observe:
                observe(record, maps)
            if len(pictures) < self._pictures:
                index = int(labels.any(record.label).sum(axis=(1, 2)).argmax())
                pictures[record.case_id] = (
                    {name: np.asarray(record.images[name][index], np.float32) for name in maps},
                    labels.masks(record.label[index]),
                    {name: of_case[:, index] for name, of_case in maps.items()},
                )
        means = {
            name: {one: np.mean(held or [[0.0] * len(self._thresholds)], axis=0) for one, held in of_class.items()}
            for name, of_class in scores.items()
        }
        chosen = {name: {one: self._choose(values) for one, values in held.items()} for name, held in means.items()}

        def is_silent(name: str, one: str) -> bool:
            sees = seen[name][one] if labels.exclusive else peaks[name][one] >= self._thresholds[chosen[name][one]]
            return bool(scores[name][one]) and not sees

        return Validated(
            dice={
                name: {one: float(values[chosen[name][one]]) for one, values in held.items()}
                for name, held in means.items()
            },
            thresholds={
                name: () if labels.exclusive else tuple(self._thresholds[number] for number in held.values())
                for name, held in chosen.items()
            },
            silent=tuple((name, one) for name in networks for one in labels.names if is_silent(name, one)),
            pictures=pictures,
            patients={
                name: sum(name in self._info.modalities_of(case) for case in self._cases)
                for name in (networks if self._incomplete else ())
            },
        )

    def _masks(
        self, maps: np.ndarray, numbers: np.ndarray | None, number: int, ignored: np.ndarray | None
    ) -> list[np.ndarray]:
        """The masks of a class at each threshold, without ignored voxels; `numbers` are those of exclusive classes."""
        if numbers is not None:
            masks = [numbers == number + 1]
        else:
            masks = [maps[number] >= cut for cut in self._thresholds]
        return masks if ignored is None else [mask & ~ignored for mask in masks]

    def _choose(self, means: np.ndarray) -> int:
        """Number of the threshold with the best mean; of equals the one nearest 0.5."""
        rounded = np.round(means, 6)
        return min(range(len(rounded)), key=lambda number: (-rounded[number], abs(self._thresholds[number] - 0.5)))
