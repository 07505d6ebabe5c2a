"""An endless stream of windows from one partition, started at any step.

Cases are visited in a new random order every epoch; a visit reads one record and cuts a few windows;
the windows of a group of visits are shuffled together. Visits, cuts and shuffles are drawn from
(seed, their number), so step s sees the same windows whether the stream began at 0 or at s.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Container, Mapping, Sequence

import tensorflow as tf

from semicml_tf.geometry.patch import Patch, mirrored
from semicml_tf.input.augmentation import Augmentation
from semicml_tf.input.patch import patch_of
from semicml_tf.input.seeds import folded, seed_for
from semicml_tf.input.window import window_of
from semicml_tf.labels import PLAIN, LabelDefinition
from semicml_tf.records import case_record
from semicml_tf.records.dataset import CaseEntry, DatasetInfo
from semicml_tf.storage import streaming

_WINDOWS_A_VISIT = 4
_VISITS_A_GROUP = 16
# Of a group of patches. Groups of slices have `_VISITS_A_GROUP` visits, whatever their size.
_GROUP_BYTES = 256 * 2**20


@dataclasses.dataclass(frozen=True)
class StreamSettings:
    """What a stream yields.

    Attributes:
        modalities: names of the images.
        patch: what one window covers.
        batch_size: windows an element.
        labelled: whether records hold labels and elements carry them.
        lesion_fraction: fraction of the windows that are cut from a slice with lesion, or of the patches that are cut
            around a voxel of a lesion (labelled streams only). With several classes, a random class of the case is
            drawn first.
        augmentation: of the windows.
        seed: of everything random.
        labels: what is segmented. Slices without an annotated pixel are never drawn.
        may_lack: whether cases may lack modalities. Elements then say which images are present.
    """

    modalities: tuple[str, ...]
    patch: Patch
    batch_size: int
    labelled: bool
    lesion_fraction: float
    augmentation: Augmentation
    seed: int
    labels: LabelDefinition = PLAIN
    may_lack: bool = False


def visits_per_group(settings: StreamSettings) -> int:
    """Visits whose windows are shuffled together: fewer if patches are large. Depends on the settings alone."""
    if len(settings.patch.spatial) == 2:
        return _VISITS_A_GROUP
    channels = len(settings.modalities)
    if settings.labelled:
        channels += len(settings.labels.classes) + (settings.labels.ignored_code is not None)
    patch_bytes = 4 * channels * math.prod(settings.patch.spatial)
    return max(1, min(_VISITS_A_GROUP, _GROUP_BYTES // (_WINDOWS_A_VISIT * patch_bytes)))


def _slice_index(slices, label, settings: StreamSettings, seed):
    """A random slice, and whether it was drawn for its lesion.

    It is one with lesion in `lesion_fraction` of the draws, if the case has any.
    """
    draws = tf.random.stateless_uniform([3], seed)
    anywhere = tf.cast(draws[0] * tf.cast(slices, tf.float32), tf.int32)
    if label is None:
        return anywhere, tf.constant(False)
    labels = settings.labels
    if labels.ignored_code is not None:
        annotated = _slices_with(label != tf.constant(labels.ignored_code, label.dtype))
        # A case without any annotated pixel is drawn all the same: its pixels weigh nothing.
        anywhere = tf.cond(
            tf.size(annotated) > 0, lambda: annotated[_nth(draws[0], tf.size(annotated))], lambda: anywhere
        )
    with_lesion = _slices_with(label > 0) if labels.is_plain else _slices_of_a_class(label, labels, seed)
    count = tf.size(with_lesion)
    wanted = tf.logical_and(count > 0, draws[1] < settings.lesion_fraction)
    return tf.cond(wanted, lambda: with_lesion[_nth(draws[2], count)], lambda: anywhere), wanted


def _slices_with(mask):
    """Numbers of the slices in which a mask has a voxel, int32."""
    return tf.cast(tf.reshape(tf.where(tf.reduce_any(mask, axis=[1, 2])), [-1]), tf.int32)


def _nth(draw, count):
    """The place that a draw from [0, 1) means among `count`; 0 if there is none."""
    return tf.minimum(tf.cast(draw * tf.cast(count, tf.float32), tf.int32), tf.maximum(count - 1, 0))


def _slices_of_a_class(codes, labels: LabelDefinition, seed):
    """Numbers of the slices with a random one of the classes that the case has."""
    wide = tf.cast(codes, tf.int32)
    if labels.ignored_code is not None:
        wide = tf.where(wide == labels.ignored_code, 0, wide)
    numbers = tf.range(len(labels.classes))
    if labels.exclusive:
        has = tf.map_fn(lambda n: tf.reduce_any(wide == n + 1, axis=[1, 2]), numbers, fn_output_signature=tf.bool)
    else:
        bit = tf.bitwise.left_shift(1, numbers)
        has = tf.map_fn(
            lambda b: tf.reduce_any(tf.bitwise.bitwise_and(wide, b) > 0, axis=[1, 2]), bit, fn_output_signature=tf.bool
        )
    present = tf.cast(tf.reshape(tf.where(tf.reduce_any(has, axis=1)), [-1]), tf.int32)
    draw = tf.random.stateless_uniform([], seed_for("class", seed))
    return tf.cond(
        tf.size(present) > 0,
        lambda: tf.cast(tf.reshape(tf.where(has[present[_nth(draw, tf.size(present))]]), [-1]), tf.int32),
        lambda: tf.zeros([0], tf.int32),
    )


def _pixel(shape, index, label, labels: LabelDefinition, has_lesion, seed):
    """A random (row, column) of a slice; one with lesion if the slice was drawn for its lesion. (2,) int32."""
    draws = tf.random.stateless_uniform([2], seed_for("pixel", seed))
    anywhere = tf.cast(draws * tf.cast(shape[1:], tf.float32), tf.int32)
    if label is None:
        return anywhere
    plane = label[index]
    mask = plane > 0
    if labels.ignored_code is not None:
        mask &= plane != tf.constant(labels.ignored_code, plane.dtype)

    def with_lesion():
        places = tf.cast(tf.where(mask), tf.int32)
        return places[_nth(draws[0], tf.shape(places)[0])]

    return tf.cond(has_lesion, with_lesion, lambda: anywhere)


def _with_neighbours(volume, index, patch: Patch):
    """A slice of a volume (slices, rows, columns) with its neighbours: (rows, columns, channels)."""
    if not patch.context_slices:
        return volume[index][..., tf.newaxis]
    places = tf.range(-patch.context_slices, patch.context_slices + 1) + index
    return tf.transpose(tf.gather(volume, mirrored(places, tf.shape(volume)[0])), [1, 2, 0])


def _cut(case_number, parsed, visit, settings: StreamSettings, without_unit: Container[str]):
    """The windows of one visit, stacked."""
    label = parsed.get("label")
    volume_shape = tf.shape(parsed["image"][settings.modalities[0]])
    slices = volume_shape[0]
    present = tf.nest.map_structure(
        lambda is_present: tf.cast(is_present, tf.float32), {key: parsed[key] for key in parsed if key == "present"}
    )

    def one(k):
        seed = folded(settings.seed, 1, visit, k)
        index, has_lesion = _slice_index(slices, label, settings, seed_for("slice", seed))
        own = tf.random.stateless_uniform([], seed_for("method", seed), minval=None, maxval=None, dtype=tf.int32)
        if len(settings.patch.spatial) == 3:
            focus = tf.concat([[index], _pixel(volume_shape, index, label, settings.labels, has_lesion, seed)], axis=0)
            images, target = patch_of(
                {name: parsed["image"][name] for name in settings.modalities},
                label,
                settings.patch,
                settings.augmentation,
                seed,
                settings.labels,
                without_unit,
                focus,
            )
            return {"image": images, "patient": case_number, "seed": own, **target, **present}
        images = {name: _with_neighbours(parsed["image"][name], index, settings.patch) for name in settings.modalities}
        images, target = window_of(
            images,
            None if label is None else label[index],
            settings.patch.window,
            settings.augmentation,
            seed,
            settings.labels,
            without_unit,
        )
        return {"image": images, "patient": case_number, "seed": own, **target, **present}

    windows = [one(k) for k in range(_WINDOWS_A_VISIT)]
    return tf.nest.map_structure(lambda *parts: tf.stack(parts), *windows)


def window_stream(
    info: DatasetInfo,
    cases: Sequence[CaseEntry] | Mapping[int, CaseEntry],
    settings: StreamSettings,
    first_step: int = 0,
):
    """Batches of windows from step `first_step` on, for ever.

    Args:
        cases: with their numbers, where these are not those of their order.

    Returns:
        A `tf.data.Dataset` of ``{"image": {name: (batch, *patch.shape) float32}, "patient": (batch,)
        int32 number of the case, "seed": (batch,) int32}`` and, if labelled, ``"label"``: (batch, window, window,
        classes) float32 0/1, and ``"valid"``: (batch, window, window, 1) 0/1 if the dataset ignores a value. With
        `may_lack` also ``"present"``: {name: (batch,) float32 0/1}; absent images are then arbitrary.
    """
    numbers = tf.constant(list(cases) if isinstance(cases, Mapping) else range(len(cases)), tf.int32)
    cases = list(cases.values()) if isinstance(cases, Mapping) else cases
    paths = tf.constant([info.shard_path(case.shard) for case in cases])
    buffer = streaming.BUFFER_BYTES if info.streamed else None
    places = tf.constant([case.index for case in cases], tf.int64)
    count = len(cases)
    group_visits = visits_per_group(settings)
    windows_per_group = _WINDOWS_A_VISIT * group_visits
    # Each volume of such a modality is normalised by its own values.
    without_unit = {name for name in settings.modalities if info.normalisation[name].fixed is None}

    def visit_case(visit):
        order = tf.random.experimental.stateless_shuffle(
            tf.range(count, dtype=tf.int32), seed=folded(settings.seed, 2, visit // count)
        )
        case = order[visit % count]
        record = (
            tf.data.TFRecordDataset(paths[case], buffer_size=buffer).skip(places[case]).take(1).get_single_element()
        )
        parsed = case_record.parse_in_graph(
            record,
            settings.modalities,
            labelled=settings.labelled,
            labels=settings.labels,
            may_lack=settings.may_lack,
        )
        return _cut(numbers[case], parsed, visit, settings, without_unit)

    def shuffled(group, windows):
        flat = tf.nest.map_structure(lambda x: tf.reshape(x, tf.concat([[-1], tf.shape(x)[2:]], 0)), windows)
        order = tf.random.experimental.stateless_shuffle(
            tf.range(windows_per_group), seed=folded(settings.seed, 3, group)
        )
        return tf.nest.map_structure(lambda x: tf.gather(x, order), flat)

    first_window = first_step * settings.batch_size
    first_group, skip = divmod(first_window, windows_per_group)
    visits = tf.data.Dataset.range(first_group * group_visits, tf.int64.max)
    groups = visits.map(visit_case, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).batch(
        group_visits, drop_remainder=True
    )
    numbered = tf.data.Dataset.zip((tf.data.Dataset.range(first_group, tf.int64.max), groups))
    windows = numbered.map(shuffled).unbatch().skip(skip)
    return windows.batch(settings.batch_size, drop_remainder=True)
