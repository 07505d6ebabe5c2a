"""What a run's stages are made of: each one's plan, networks, batches and compiled step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import tensorflow as tf

from semicml_tf.input.augmentation import LEVELS
from semicml_tf.input.complete_cases import training_cases
from semicml_tf.input.semi_supervised_batches import BatchSettings, additional_windows, batches
from semicml_tf.input.stream import StreamSettings
from semicml_tf.methods import catalogue
from semicml_tf.methods.base import Method
from semicml_tf.methods.catalogue import MethodSettings
from semicml_tf.methods.schedule import StagePlan
from semicml_tf.networks import catalogue as networks
from semicml_tf.records.dataset import CaseEntry, DatasetInfo
from semicml_tf.runs.settings import TrainSettings
from semicml_tf.training.distributed.cluster import ALONE, Workers
from semicml_tf.training.step import compiled_step


class Stages:
    """The stages of a run, by number.

    Args:
        info: the converted data.
        train, method: the settings, checked.
        strategy: where to train.
        workers: that train together, and which one this is.
        jit_compile: compile the step by XLA; on one device alone.
    """

    def __init__(
        self,
        info: DatasetInfo,
        train: TrainSettings,
        method: MethodSettings,
        strategy: tf.distribute.Strategy,
        workers: Workers = ALONE,
        *,
        jit_compile: bool = False,
    ):
        self._info, self._train, self._method, self._strategy = info, train, method, strategy
        self._workers, self._jit_compile = workers, jit_compile
        labelled = training_cases(info, ("labelled",), train.incomplete_cases)
        self.epoch_steps = steps_per_epoch(train, labelled)

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return sum(self._train.epochs) * self.epoch_steps

    def first_step(self, number: int) -> int:
        """Steps of the run before the stage."""
        return sum(self._train.epochs[:number]) * self.epoch_steps

    def plan(self, number: int) -> StagePlan:
        """The stage's place in the run."""
        return StagePlan(
            steps=self._train.epochs[number] * self.epoch_steps,
            first_step=self.first_step(number),
            steps_per_epoch=self.epoch_steps,
            rate_factor=self._method.lr_later_stages if number else 1.0,
            run_steps=self.total_steps,
        )

    def build(self, number: int, scores: Mapping[str, float]) -> Method:
        """The stage's method with new networks; to be called in the strategy's scope.

        Args:
            scores: best mean validation Dice by modality so far.
        """
        train = self._train
        synchronized = self._strategy.num_replicas_in_sync > 1 and train.synchronized_statistics

        spec = train.spec_for(self._info.labels, self._info.spacing_mm)

        def network(modality: str):
            # The initial weights of a modality depend on the seed and its name, and not on the other modalities.
            seed = train.seed * 101 + sum(map(ord, modality))
            return networks.build(
                spec,
                name=modality,
                seed=seed,
                synchronized=synchronized,
                precision=train.precision,
            )

        stage = catalogue.stage_class(train.method[number])
        method = stage(self._info.modalities, network, self._method, self.plan(number), scores)
        method.class_names = self._info.labels.names
        return method

    def sizes(self, number: int) -> dict[str, int]:
        """Slices of a step's streams, over all workers."""
        needed = catalogue.METHODS[self._train.method[number]].needs_unlabelled
        unlabelled = self._train.unlabelled_batch + self._additional if needed else 0
        return {"labelled": self._train.labelled_batch, "unlabelled": unlabelled}

    @property
    def _additional(self) -> int:
        """Unlabelled slices of patients without all modalities, beside --unlabelled_batch."""
        train, workers = self._train, self._workers.count if self._own_shards else 1
        return additional_windows(
            self._info, train.unlabelled_partitions, train.unlabelled_batch, workers, train.incomplete_cases
        )

    @property
    def _own_shards(self) -> bool:
        return self._train.worker_data == "own" and self._workers.count > 1

    def batches(self, number: int, step: int) -> tf.data.Dataset:
        """The stage's batches from a step of it on, for ever."""
        train, sizes = self._train, self.sizes(number)
        stream = StreamSettings(
            modalities=self._info.modalities,
            patch=train.patch,
            batch_size=0,
            labelled=True,
            lesion_fraction=train.lesion_fraction,
            augmentation=LEVELS[train.augmentation],
            seed=train.seed,
            labels=self._info.labels,
        )
        data = BatchSettings(
            ("labelled",),
            train.unlabelled_partitions,
            sizes["labelled"],
            train.unlabelled_batch if sizes["unlabelled"] else 0,
            stream,
            share=(self._workers.number, self._workers.count) if self._own_shards else (0, 1),
            incomplete_cases=train.incomplete_cases,
            incomplete=self._additional if sizes["unlabelled"] else 0,
        )
        return batches(self._info, data, self.first_step(number) + step)

    def step(self, number: int, method: Method) -> Callable[[Any], dict[str, tf.Tensor]]:
        """The method's step as one graph: batch -> the step's terms."""
        sizes = self.sizes(number) if self._own_shards else None
        return compiled_step(method, self._strategy, sizes, jit_compile=self._jit_compile)


def steps_per_epoch(train: TrainSettings, labelled: Iterable[CaseEntry]) -> int:
    """Steps of an epoch: as set, or one pass over the labelled slices that are shown.

    These are the annotated slices, or the slices with lesion if no other is drawn. One pass of patches has as many
    patches as cover these slices of each case side by side, without overlap.
    """
    if train.steps_per_epoch > 0:
        return train.steps_per_epoch
    inputs = sum(_inputs(case, train) for case in labelled)
    return max(1, math.ceil(inputs / train.labelled_batch))


def _inputs(case: CaseEntry, train: TrainSettings) -> int:
    """Slices or patches of a case in one pass."""
    slices = case.shape[0] if case.annotated_slices is None else case.annotated_slices
    if train.lesion_fraction >= 1.0:
        slices = case.lesion_slices or 0
    if len(train.patch.spatial) == 2:
        return slices
    return math.prod(math.ceil(size / side) for size, side in zip((slices, *case.shape[1:]), train.patch.spatial))
