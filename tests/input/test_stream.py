"""The input: a pure function of (seed, step), one geometry for both modalities, no label where there is none."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from semicml_tf.geometry.patch import Patch
from semicml_tf.input.augmentation import LIGHT, NONE
from semicml_tf.input.mixing import cutmix
from semicml_tf.input.seeds import folded
from semicml_tf.input.semi_supervised_batches import BatchSettings, batches
from semicml_tf.input.stream import StreamSettings, _slice_index, window_stream
from semicml_tf.labels import SOFTMAX, LabelDefinition
from semicml_tf.preprocessing.normalisation import Normalisation
from semicml_tf.records.dataset import DatasetInfo


@pytest.fixture(scope="module")
def info(phantom_dataset):
    return DatasetInfo.load(phantom_dataset)


def _settings(info, **changes):
    base = StreamSettings(info.modalities, Patch(32), 6, True, 0.67, LIGHT, seed=3)
    return dataclasses.replace(base, **changes)


def _take(dataset, count):
    return [tf.nest.map_structure(lambda x: x.numpy(), element) for element in dataset.take(count)]


def _equal(a, b):
    flat_a, flat_b = tf.nest.flatten(a), tf.nest.flatten(b)
    return len(flat_a) == len(flat_b) and all(np.array_equal(x, y) for x, y in zip(flat_a, flat_b))


@pytest.mark.parametrize("first", [1, 7, 23])
def test_a_stream_begun_late_is_the_same_stream(info, first):
    cases, how = info.cases("labelled"), _settings(info)
    whole = _take(window_stream(info, cases, how), first + 3)
    late = _take(window_stream(info, cases, how, first_step=first), 3)
    assert _equal(whole[first:], late)


def test_mixed_batches_are_functions_of_seed_and_step_eagerly_and_in_a_dataset(info):
    stream = _settings(info, augmentation=dataclasses.replace(NONE, cutmix=1.0))
    data = BatchSettings(("labelled",), (), 6, 0, stream)
    first, second = _take(batches(info, data), 2)
    (late,) = _take(batches(info, data, first_step=1), 1)
    assert _equal(late, second)
    how = dataclasses.replace(stream, seed=2 * stream.seed)
    windows = _take(window_stream(info, info.cases("labelled"), how), 2)
    for step, (plain, mixed) in enumerate(zip(windows, (first["labelled"], second["labelled"]))):
        eager = cutmix(tf.nest.map_structure(tf.constant, plain), 1.0, folded(how.seed, 4, step))
        tf.nest.map_structure(np.testing.assert_array_equal, eager, mixed)
        assert not _equal(plain["image"], mixed["image"])


def test_seeds_and_steps_differ(info):
    cases = info.cases("labelled")
    one, two = _take(window_stream(info, cases, _settings(info)), 2)
    other = _take(window_stream(info, cases, _settings(info, seed=4)), 1)[0]
    assert not _equal(one, two) and not _equal(one, other)
    assert len(set(np.concatenate([one["seed"], two["seed"]]))) == 12


def test_every_case_is_visited_equally_often(info):
    cases = info.cases("labelled")
    elements = _take(window_stream(info, cases, _settings(info, batch_size=64)), 3)
    counts = np.bincount(np.concatenate([e["patient"] for e in elements]), minlength=len(cases))
    # 192 windows of 3 cases in visits of 4; a group may end in the middle of an epoch.
    assert abs(counts - 64).max() <= 4


def test_lesion_fraction_one_shows_lesion_slices_only(info):
    cases = [case for case in info.cases("labelled") if case.lesion_slices]
    how = _settings(info, lesion_fraction=1.0, augmentation=NONE, patch=Patch(64), batch_size=32)
    assert all(e["label"].max(axis=(1, 2, 3)).all() for e in _take(window_stream(info, cases, how), 2))
    low = dataclasses.replace(how, lesion_fraction=0.0)
    assert not all(e["label"].max(axis=(1, 2, 3)).all() for e in _take(window_stream(info, cases, low), 2))


def test_the_unlabelled_stream_holds_no_label_even_of_labelled_patients(info):
    data = BatchSettings(("labelled",), ("labelled", "unlabelled"), 4, 6, _settings(info))
    batch = _take(batches(info, data), 1)[0]
    assert set(batch["unlabelled"]) == {"image", "patient", "seed"}
    assert batch["labelled"]["label"].shape == (4, 32, 32, 1)
    assert batch["unlabelled"]["image"]["pet"].shape == (6, 32, 32, 1)
    assert set(batch["labelled"]["seed"]).isdisjoint(batch["unlabelled"]["seed"])


def test_reading_a_label_from_unlabelled_records_fails(info):
    stream = window_stream(info, info.cases("unlabelled"), _settings(info))
    with pytest.raises(tf.errors.InvalidArgumentError, match="label"):
        _take(stream, 1)


def test_a_class_of_one_slice_is_drawn_as_often_as_a_class_of_many_and_ignored_slices_never():
    labels = LabelDefinition({"many": (1,), "one": (2,)}, SOFTMAX, ignore_value=9)
    values = np.ones((10, 4, 4), int)
    values[3], values[5:] = 2, 9
    codes = tf.constant(labels.encode(values))
    how = StreamSettings(("ct",), Patch(16), 1, True, 1.0, NONE, 0, labels)
    drawn = [int(_slice_index(10, codes, how, tf.constant([seed, 0]))[0]) for seed in range(200)]
    assert 70 <= drawn.count(3) <= 130 and max(drawn) < 5
    anywhere = dataclasses.replace(how, lesion_fraction=0.0)
    assert {int(_slice_index(10, codes, anywhere, tf.constant([seed, 0]))[0]) for seed in range(60)} == {0, 1, 2, 3, 4}


def test_only_modalities_normalised_by_their_own_values_get_a_bias_field(info):
    own = {**info.normalisation, "pet": Normalisation.parse("percentile:0.5:99.5")}
    cases, how = info.cases("labelled"), dataclasses.replace(NONE, bias_field=1.0)
    (plain,) = _take(window_stream(info, cases, _settings(info, augmentation=how)), 1)
    (biased,) = _take(
        window_stream(dataclasses.replace(info, normalisation=own), cases, _settings(info, augmentation=how)), 1
    )
    np.testing.assert_array_equal(plain["image"]["ct"], biased["image"]["ct"])
    assert not np.allclose(plain["image"]["pet"], biased["image"]["pet"], atol=0.01)


def test_brightness_tells_nothing_of_the_slice(info):
    """Were both drawn from one seed, slices with lesion would be darker than others."""
    flat = dataclasses.replace(NONE, offset=1.0)
    cases = [case for case in info.cases("labelled") if case.lesion_slices]
    how = _settings(info, augmentation=flat, patch=Patch(64), batch_size=64, lesion_fraction=0.5)
    plain = dataclasses.replace(how, augmentation=NONE)
    offsets, lesion = {name: [] for name in info.modalities}, []
    shifted = _take(window_stream(info, cases, how), 4)
    for a, b in zip(shifted, _take(window_stream(info, cases, plain), 4)):
        lesion += list(b["label"].max(axis=(1, 2, 3)))
        for name in info.modalities:
            offsets[name] += list((a["image"][name] - b["image"][name])[:, 32, 32, 0])
    assert 0.3 < np.mean(lesion) < 0.9
    for name in info.modalities:
        assert np.std(offsets[name]) > 0.4
        # 256 draws: chance correlations stay below 0.2.
        assert abs(np.corrcoef(offsets[name], lesion)[0, 1]) < 0.2
    assert abs(np.corrcoef(*offsets.values())[0, 1]) < 0.2
