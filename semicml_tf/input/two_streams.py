"""A step's batch: labelled windows and unlabelled ones, side by side."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from semicml_tf.input.stream import StreamSettings, window_stream
from semicml_tf.input.whole_cases import whole_cases
from semicml_tf.records.dataset import DatasetInfo


@dataclasses.dataclass(frozen=True)
class BatchSettings:
    """What a step's batch holds.

    Attributes:
        labelled_partitions, unlabelled_partitions: names of the partitions that feed the streams. A
            partition with labels may feed the unlabelled one; its labels are then not read. Cases that lack a
            modality are left out.
        labelled, unlabelled: windows of each; no unlabelled stream where 0.
        stream: the rest; its batch size and `labelled` are set here.
    """

    labelled_partitions: tuple[str, ...]
    unlabelled_partitions: tuple[str, ...]
    labelled: int
    unlabelled: int
    stream: StreamSettings


def batches(info: DatasetInfo, settings: BatchSettings, first_step: int = 0) -> tf.data.Dataset:
    """Batches ``{"labelled": ..., "unlabelled": ...}`` (see `window_stream`) from step `first_step` on, for ever."""

    def stream(partitions, size, labelled, seed):
        how = dataclasses.replace(settings.stream, batch_size=size, labelled=labelled, seed=seed)
        whole, _ = whole_cases(info, partitions)
        return window_stream(info, whole, how, first_step)

    seed = settings.stream.seed
    streams = {"labelled": stream(settings.labelled_partitions, settings.labelled, True, 2 * seed)}
    if settings.unlabelled:
        streams["unlabelled"] = stream(settings.unlabelled_partitions, settings.unlabelled, False, 2 * seed + 1)
    return tf.data.Dataset.zip(streams).prefetch(2)
