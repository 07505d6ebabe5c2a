"""A step's batch: labelled windows and unlabelled ones, side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import tensorflow as tf

from semicml_tf.errors import UserError
from semicml_tf.input.complete_cases import DROP, USE, lacking, own_cases, training_cases
from semicml_tf.input.mixing import cutmix
from semicml_tf.input.seeds import folded
from semicml_tf.input.stream import StreamSettings, window_stream
from semicml_tf.records.dataset import CaseEntry, DatasetInfo

# Incomplete cases add at most this fraction of unlabelled windows to a batch. A label by fewer teachers is worse.
_MOST_INCOMPLETE = 0.25


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
        incomplete: windows of incomplete cases in addition to `unlabelled`; see `additional_windows`.
    """

    labelled_partitions: tuple[str, ...]
    unlabelled_partitions: tuple[str, ...]
    labelled: int
    unlabelled: int
    stream: StreamSettings
    share: tuple[int, int] = (0, 1)
    incomplete_cases: str = USE
    incomplete: int = 0

    def part(self, size: int) -> int:
        """Windows of this worker's part of a stream of `size`."""
        number, count = self.share
        return size * (number + 1) // count - size * number // count


def additional_windows(
    info: DatasetInfo, partitions: Sequence[str], unlabelled: int, workers: int, incomplete_cases: str
) -> int:
    """The number of windows of incomplete cases that a batch has in addition to `unlabelled` windows of complete cases.

    The complete windows of a batch are those that it has if the incomplete cases are dropped. Mutual terms therefore
    have as many slices. The windows are added in the ratio of incomplete to complete cases, at most a quarter of
    `unlabelled`, and one for each worker at least.

    0 if all cases are complete. 0 also if more cases are incomplete than complete: `unlabelled` windows of all cases
    then make the batch, because the few complete cases would fill most of it.
    """
    cases = training_cases(info, partitions, incomplete_cases)
    incomplete = sum(bool(lacking(info, case)) for case in cases)
    complete = len(cases) - incomplete
    if not unlabelled or not incomplete or incomplete > complete:
        return 0
    return max(round(unlabelled * min(incomplete / complete, _MOST_INCOMPLETE)), workers)


def batches(info: DatasetInfo, settings: BatchSettings, first_step: int = 0) -> tf.data.Dataset:
    """Batches ``{"labelled": ..., "unlabelled": ...}`` (see `window_stream`) from step `first_step` on, for ever.

    CutMix, if the augmentation has it, mixes windows of one stream. Teachers and students see the same mixed images.
    Where a case of a stream lacks a modality, the stream has ``present``, and absent images are those of other cases.

    Raises:
        UserError: there are fewer shards than workers to share them.
    """
    seed = settings.stream.seed
    seeds = {"labelled": 2 * seed, "unlabelled": 2 * seed + 1}
    streams = {
        "labelled": _stream(
            info, settings, settings.labelled_partitions, settings.labelled, seeds["labelled"], first_step
        )
    }
    if settings.unlabelled:
        streams["unlabelled"] = _unlabelled(info, settings, seeds["unlabelled"], first_step)
    if settings.stream.augmentation.cutmix:
        streams = {name: _mixed(windows, settings, seeds[name], first_step) for name, windows in streams.items()}
    return tf.data.Dataset.zip(streams).prefetch(2)


def _mixed(windows: tf.data.Dataset, settings: BatchSettings, seed: int, first_step: int) -> tf.data.Dataset:
    """The batches of a stream after CutMix, drawn from (seed, step)."""
    # Workers that read other cases draw other boxes.
    seed |= settings.share[0] << 40

    def mixed(step, batch):
        return cutmix(batch, settings.stream.augmentation.cutmix, folded(seed, 4, step))

    return tf.data.Dataset.zip((tf.data.Dataset.range(first_step, tf.int64.max), windows)).map(mixed)


def _how(settings: BatchSettings, size: int, labelled: bool, seed: int, may_lack: bool) -> StreamSettings:
    number, count = settings.share
    if settings.part(size) == 0:
        raise UserError(
            f"expected batches of at least {count} slices, one for each worker, got {size}",
            remedy="Raise --labelled_batch and --unlabelled_batch",
        )
    # Workers that read other cases draw other windows.
    seed |= number << 40
    how = settings.stream
    return dataclasses.replace(how, batch_size=settings.part(size), labelled=labelled, seed=seed, may_lack=may_lack)


def _stream(info, settings: BatchSettings, partitions, size: int, seed: int, first_step: int, labelled: bool = True):
    """The windows of all cases of the partitions."""
    # The streams of all workers must have one structure, so that all cases count here.
    cases = training_cases(info, partitions, settings.incomplete_cases)
    how = _how(settings, size, labelled, seed, any(lacking(info, case) for case in cases))
    own = window_stream(info, own_cases(info, partitions, settings.share, settings.incomplete_cases), how, first_step)
    return _without_gaps(own, info, cases, how, first_step) if how.may_lack else own


def _unlabelled(info, settings: BatchSettings, seed: int, first_step: int):
    """The unlabelled windows: those of complete cases, and after them the additional ones of incomplete cases."""
    partitions = settings.unlabelled_partitions
    if not settings.incomplete:
        return _stream(info, settings, partitions, settings.unlabelled, seed, first_step, labelled=False)
    cases = training_cases(info, partitions, USE)
    # Either stream has the numbers of all cases: a number names one case.
    rest = {number: case for number, case in enumerate(cases) if lacking(info, case)}
    numbers = [number for number in range(len(cases)) if number not in rest]
    own = {numbers[index]: case for index, case in own_cases(info, partitions, settings.share, DROP).items()}
    how = _how(settings, settings.unlabelled, False, seed, True)
    complete = window_stream(info, own, how, first_step)
    # Few cases: every worker reads all of them.
    how = _how(settings, settings.incomplete, False, seed | 1 << 39, True)
    incomplete = _without_gaps(window_stream(info, rest, how, first_step), info, cases, how, first_step)
    return tf.data.Dataset.zip((complete, incomplete)).map(
        lambda one, other: tf.nest.map_structure(lambda *parts: tf.concat(parts, axis=0), one, other)
    )


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
            image = images[name]
            present = tf.reshape(batch["present"][name], (-1, *(1 for _ in image.shape[1:]))) > 0
            images[name] = tf.where(present, image, other["image"][name])
        return batch | {"image": images}

    return tf.data.Dataset.zip((windows, donors)).map(filled)
