"""A step's batch: labelled windows and unlabelled ones, side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import tensorflow as tf

from semicml_tf.errors import UserError
from semicml_tf.input.complete_cases import USE, lacking, own_cases, training_cases
from semicml_tf.input.stream import StreamSettings, window_stream
from semicml_tf.records.dataset import CaseEntry, DatasetInfo


@dataclasses.dataclass(frozen=True)
class BatchSettings:
    """What a step's batch holds.

    Attributes:
        labelled_partitions, unlabelled_partitions: names of the partitions that feed the streams. A
            partition with labels may feed the unlabelled one; its labels are then not read.
        labelled, unlabelled: windows of each; no unlabelled stream where 0.
        stream: the rest; its batch size and `labelled` are set here.
        share: (number, count): the part of that one of so many workers, from shards that no other worker reads.
        incomplete_cases: ``use`` or ``drop`` the cases that lack a modality.
    """

    labelled_partitions: tuple[str, ...]
    unlabelled_partitions: tuple[str, ...]
    labelled: int
    unlabelled: int
    stream: StreamSettings
    share: tuple[int, int] = (0, 1)
    incomplete_cases: str = USE

    def part(self, size: int) -> int:
        """Windows of this worker's part of a stream of `size`."""
        number, count = self.share
        return size * (number + 1) // count - size * number // count


def batches(info: DatasetInfo, settings: BatchSettings, first_step: int = 0) -> tf.data.Dataset:
    """Batches ``{"labelled": ..., "unlabelled": ...}`` (see `window_stream`) from step `first_step` on, for ever.

    Where a case of a stream lacks a modality, the stream has ``present``, and absent images are those of other cases.

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
        # The streams of all workers must have one structure, so that all cases count here.
        cases = training_cases(info, partitions, settings.incomplete_cases)
        how = dataclasses.replace(
            settings.stream,
            batch_size=settings.part(size),
            labelled=labelled,
            seed=seed,
            may_lack=any(lacking(info, case) for case in cases),
        )
        own = window_stream(
            info, own_cases(info, partitions, settings.share, settings.incomplete_cases), how, first_step
        )
        return _without_gaps(own, info, cases, how, first_step) if how.may_lack else own

    seed = settings.stream.seed
    streams = {"labelled": stream(settings.labelled_partitions, settings.labelled, True, 2 * seed)}
    if settings.unlabelled:
        streams["unlabelled"] = stream(settings.unlabelled_partitions, settings.unlabelled, False, 2 * seed + 1)
    return tf.data.Dataset.zip(streams).prefetch(2)


def _without_gaps(
    windows: tf.data.Dataset, info: DatasetInfo, cases: Sequence[CaseEntry], settings: StreamSettings, first_step: int
) -> tf.data.Dataset:
    """`windows` with each absent image replaced by a window of another case that has the modality.

    The replaced images count in no loss. Batch normalisation still sees images of the modality alone, and as many in
    each batch.
    """
    donors = {}
    for name in settings.modalities:
        owners = [case for case in cases if name not in lacking(info, case)]
        if len(owners) < len(cases):
            how = dataclasses.replace(settings, modalities=(name,), labelled=False, may_lack=False)
            donors[name] = window_stream(info, owners, how, first_step)

    def filled(batch, others):
        images = dict(batch["image"])
        for name, other in others.items():
            present = batch["present"][name][:, tf.newaxis, tf.newaxis, tf.newaxis] > 0
            images[name] = tf.where(present, images[name], other["image"][name])
        return batch | {"image": images}

    return tf.data.Dataset.zip((windows, donors)).map(filled)
