"""A step's batch: labelled windows and unlabelled ones, side by side."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from semicml_tf.errors import UserError
from semicml_tf.input.complete_cases import own_cases
from semicml_tf.input.stream import StreamSettings, window_stream
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
        share: (number, count): the part of that one of so many workers, from shards that no other worker reads.
    """

    labelled_partitions: tuple[str, ...]
    unlabelled_partitions: tuple[str, ...]
    labelled: int
    unlabelled: int
    stream: StreamSettings
    share: tuple[int, int] = (0, 1)

    def part(self, size: int) -> int:
        """Windows of this worker's part of a stream of `size`."""
        number, count = self.share
        return size * (number + 1) // count - size * number // count


def batches(info: DatasetInfo, settings: BatchSettings, first_step: int = 0) -> tf.data.Dataset:
    """Batches ``{"labelled": ..., "unlabelled": ...}`` (see `window_stream`) from step `first_step` on, for ever.

    Raises:
        UserError: there are fewer shards than workers to share them.
    """

    def stream(partitions, size, labelled, seed):
        number, count = settings.share
        if settings.part(size) == 0:
            raise UserError(
                f"expected batches of at least {count} slices, one for each worker, got {size}",
                remedy="Raise --labelled_batch and --unlabelled_batch",
            )
        # Workers that read other cases draw other windows.
        seed |= number << 40
        how = dataclasses.replace(settings.stream, batch_size=settings.part(size), labelled=labelled, seed=seed)
        return window_stream(info, own_cases(info, partitions, settings.share), how, first_step)

    seed = settings.stream.seed
    streams = {"labelled": stream(settings.labelled_partitions, settings.labelled, True, 2 * seed)}
    if settings.unlabelled:
        streams["unlabelled"] = stream(settings.unlabelled_partitions, settings.unlabelled, False, 2 * seed + 1)
    return tf.data.Dataset.zip(streams).prefetch(2)
