"""Segmenters made of other segmenters: a progress bar, test-time flips, Monte-Carlo dropout and ensembles."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.inference import slices
from semicml_tf.inference.averaging import mean_over_flips
from semicml_tf.inference.volume import Segmenter, check_classes, through
from semicml_tf.preprocessing.plausibility import Problem


class Wrapped(Segmenter):
    """Passes all work on to another segmenter. Subclasses change a part of the work."""

    def __init__(self, model: Segmenter):
        super().__init__(model.manifest, model.overlap)
        self._model = model

    def slices(self, batch: np.ndarray) -> np.ndarray:
        return self._model.slices(batch)

    def each(self, function: Callable, items: Iterable) -> Iterator:
        return self._model.each(function, items)

    def check_dropout(self) -> None:
        self._model.check_dropout()

    def dropout_slices(self, batch: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        return self._model.dropout_slices(batch, seeds)

    def origins(self) -> list[dict]:
        return self._model.origins()


class WithProgress(Wrapped):
    """Counts the finished slices of another segmenter on a progress bar.

    Args:
        model: the segmenter.
        bar: a `tqdm` bar that counts slices.
    """

    def __init__(self, model: Segmenter, bar):
        super().__init__(model)
        self._bar = bar

    def each(self, function: Callable, items: Iterable) -> Iterator:
        # The bar belongs to this thread. A batch may be computed in another thread.
        for result in self._model.each(function, items):
            self._bar.update(len(result))
            yield result


class Flipped(Wrapped):
    """The mean of another segmenter's probabilities over each input and its mirror images along all axes of space.

    A slice takes four passes, a patch of three dimensions eight.
    """

    def slices(self, batch: np.ndarray) -> np.ndarray:
        return mean_over_flips(self._model.slices, batch)

    def dropout_slices(self, batch: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        return mean_over_flips(lambda flipped: self._model.dropout_slices(flipped, seeds), batch)


def slice_seeds(seed: int, number: int, count: int) -> np.ndarray:
    """The seeds (count,) int32 of the slices of pass `number` (from 0): a pure function of the arguments."""
    return np.random.default_rng([seed, number]).integers(2**31, size=count).astype(np.int32)


def _with_seeds(batches: Iterable[np.ndarray], seeds: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of slices in their order, each with the seeds of its slices."""
    done = 0
    for batch in batches:
        yield batch, seeds[done : done + len(batch)]
        done += len(batch)


class MonteCarlo(Wrapped):
    """Monte-Carlo dropout: several passes of another segmenter, each with random dropout.

    Each slice of each pass has its own seed. The dropout is therefore independent of the batch size and of the order
    of the work. Source: Gal and Ghahramani 2016, arXiv 1506.02142.

    Args:
        model: a segmenter with `dropout_slices`.
        passes: number of draws.
        seed: seed of all passes, at least 0.
    """

    def __init__(self, model: Segmenter, passes: int, seed: int):
        super().__init__(model)
        self._passes, self._seed = passes, seed

    def _pass(self, seeds: np.ndarray, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The probabilities of one pass."""
        return self.each(lambda pair: self._model.dropout_slices(*pair), _with_seeds(batches, seeds))

    def draws(self, prepared, *, batch_size: int) -> Iterator[Sequence[np.ndarray]]:
        """The probabilities of each pass; raises a UserError if the network has no dropout."""
        count = slices.count(prepared.volume.shape, self.manifest.patch, self.overlap)
        for number in range(self._passes):
            one_pass = functools.partial(self._pass, slice_seeds(self._seed, number, count))
            yield through(prepared, self.manifest, one_pass, batch_size=batch_size, overlap=self.overlap)


class Ensemble(Segmenter):
    """Several models of one modality as one. Each model resamples and normalises as in its training.

    A voxel belongs to a region where the mean of the probabilities reaches the mean of the models' thresholds. Of
    exclusive classes, the largest mean counts.

    Args:
        members: at least one segmenter. Their post-processing must be equal.

    Raises:
        UserError: the members are of several modalities or classes, or their post-processing differs.
    """

    def __init__(self, members: Sequence[Segmenter]):
        manifests = [member.manifest for member in members]
        modalities = sorted({manifest.modality for manifest in manifests})
        if len(modalities) > 1:
            raise UserError(
                f"expected models of one modality, got {', '.join(modalities)}",
                remedy="Name several modalities' models: --model=ct=FOLDER,pet=FOLDER",
            )
        check_classes(manifests)
        own = sorted({str(manifest.steps_text) for manifest in manifests})
        if len(own) > 1:
            raise UserError(
                f"the models' post-processing differs: {' and '.join(own)}", remedy="Choose one: --postprocess=none"
            )
        thresholds = manifests[0].thresholds
        if len(manifests) > 1:
            names = list(thresholds)
            thresholds = {name: float(np.mean([one.thresholds[name] for one in manifests])) for name in names}
        super().__init__(dataclasses.replace(manifests[0], thresholds=thresholds))
        self._members = tuple(members)

    def origins(self) -> list[dict]:
        return [origin for member in self._members for origin in member.origins()]

    def prepare(self, array: np.ndarray, affine: np.ndarray) -> list:
        return [member.prepare(array, affine) for member in self._members]

    def warnings(self, prepared: list) -> tuple[Problem, ...]:
        """The warnings of all members, each once."""
        pairs = zip(self._members, prepared)
        return tuple(dict.fromkeys(problem for member, of_member in pairs for problem in member.warnings(of_member)))

    def draws(self, prepared: list, *, batch_size: int) -> Iterator[Sequence[np.ndarray]]:
        """The draws of all members, with equal weights."""
        for member, of_member in zip(self._members, prepared):
            yield from member.draws(of_member, batch_size=batch_size)
