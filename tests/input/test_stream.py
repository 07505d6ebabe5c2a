"""The input: a pure function of (seed, step), one geometry for both modalities, no label where there is none."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from semicml_tf.input import window
from semicml_tf.input.semi_supervised_batches import BatchSettings, batches
from semicml_tf.input.stream import StreamSettings, _slice_index, window_stream
from semicml_tf.labels import SOFTMAX, LabelDefinition
from semicml_tf.records.dataset import DatasetInfo


@pytest.fixture(scope="module")
def info(phantom_dataset):
    return DatasetInfo.load(phantom_dataset)


def _settings(info, **changes):
    base = StreamSettings(info.modalities, 32, 6, True, 0.67, window.STANDARD, seed=3)
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
    how = _settings(info, lesion_fraction=1.0, augmentation=window.NONE, window=64, batch_size=32)
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


def test_modalities_and_label_share_their_geometry():
    """The same picture given as both modalities and as label must be cut, turned and mirrored alike."""
    blob = np.zeros((40, 30), np.float32)
    blob[10:18, 5:20] = 1.0
    how = dataclasses.replace(window.STANDARD, gain=0.0, offset=0.0, noise=0.0)
    for seed in range(20):
        images, target = window.window_of(
            {"ct": blob, "pet": blob}, blob.astype(np.uint8), 48, how, tf.constant([seed, 1])
        )
        np.testing.assert_array_equal(images["ct"], images["pet"])
        np.testing.assert_array_equal(images["ct"].numpy() >= 0.5, target["label"].numpy() == 1.0)


def test_a_label_that_cannot_be_cut_at_a_half_is_refused():
    slices = np.zeros((8, 8), np.float32)
    with pytest.raises(ValueError, match="codes, of type uint8, got float32"):
        window.window_of({"ct": slices}, slices, 8, window.NONE, tf.constant([1, 2]))


CLASSES = LabelDefinition({"one": (1,), "two": (2,), "three": (3,)}, SOFTMAX, ignore_value=9)
REGIONS = LabelDefinition({"whole": (1, 2), "core": (2,)})


@pytest.mark.parametrize("labels", [CLASSES, REGIONS], ids=["classes", "regions"])
def test_without_augmentation_codes_become_a_plane_per_class(labels):
    values = np.random.default_rng(0).integers(0, 3, (16, 16))
    values[:4] = labels.ignore_value or 0
    codes = labels.encode(values)
    _, target = window.window_of({"ct": values}, codes, 16, window.NONE, tf.constant([1, 2]), labels)
    np.testing.assert_array_equal(np.moveaxis(target["label"], -1, 0), labels.masks(codes))
    assert ("valid" in target) == (labels.ignore_value is not None)
    if "valid" in target:
        np.testing.assert_array_equal(target["valid"][..., 0] == 0, labels.ignored(codes))


def test_augmentation_makes_no_class_between_two_classes_and_keeps_nested_regions_nested():
    values = np.repeat(np.where(np.arange(32) < 16, 1, 3)[np.newaxis], 32, axis=0)
    for seed in range(10):
        draw = tf.constant([seed, 3])
        _, target = window.window_of({"ct": values}, CLASSES.encode(values), 32, window.STANDARD, draw, CLASSES)
        label = target["label"].numpy()
        assert label[..., 1].sum() == 0 and (label.sum(axis=-1) == 1).all()
        _, target = window.window_of({"ct": values}, REGIONS.encode(values - 1), 32, window.STANDARD, draw, REGIONS)
        whole, core = np.moveaxis(target["label"].numpy(), -1, 0)
        assert core.any() and (core <= whole).all()


def test_a_class_of_one_slice_is_drawn_as_often_as_a_class_of_many_and_ignored_slices_never():
    labels = LabelDefinition({"many": (1,), "one": (2,)}, SOFTMAX, ignore_value=9)
    values = np.ones((10, 4, 4), int)
    values[3], values[5:] = 2, 9
    codes = tf.constant(labels.encode(values))
    how = StreamSettings(("ct",), 16, 1, True, 1.0, window.NONE, 0, labels)
    drawn = [int(_slice_index(10, codes, how, tf.constant([seed, 0]))) for seed in range(200)]
    assert 70 <= drawn.count(3) <= 130 and max(drawn) < 5
    anywhere = dataclasses.replace(how, lesion_fraction=0.0)
    assert {int(_slice_index(10, codes, anywhere, tf.constant([seed, 0]))) for seed in range(60)} == {0, 1, 2, 3, 4}


def test_without_augmentation_a_window_is_the_centre_mirrored_at_the_border():
    rng = np.random.default_rng(0)
    small, large = rng.normal(size=(20, 24)).astype(np.float32), rng.normal(size=(40, 48)).astype(np.float32)
    images, _ = window.window_of({"ct": small}, None, 32, window.NONE, tf.constant([1, 2]))
    np.testing.assert_allclose(images["ct"][..., 0], np.pad(small, ((6, 6), (4, 4)), mode="symmetric"), atol=1e-6)
    # Of a larger slice any part is shown, not its centre alone.
    corners = set()
    for seed in range(20):
        images, _ = window.window_of({"ct": large}, None, 32, window.NONE, tf.constant([seed, 2]))
        assert images["ct"].shape == (32, 32, 1)
        corners.add(float(images["ct"][0, 0, 0]))
    assert len(corners) > 10


def test_intensities_vary_independently_between_modalities():
    flat = np.ones((32, 32), np.float32)
    how = dataclasses.replace(window.NONE, gain=0.2, offset=0.2)
    ratios = []
    for seed in range(8):
        images, _ = window.window_of({"ct": flat, "pet": flat}, None, 32, how, tf.constant([seed, 9]))
        ratios.append(float(images["ct"][0, 0, 0] - images["pet"][0, 0, 0]))
    assert np.std(ratios) > 0.01


def test_brightness_tells_nothing_of_the_slice(info):
    """Were both drawn from one seed, slices with lesion would be darker than others."""
    flat = dataclasses.replace(window.NONE, offset=1.0)
    cases = [case for case in info.cases("labelled") if case.lesion_slices]
    how = _settings(info, augmentation=flat, window=64, batch_size=64, lesion_fraction=0.5)
    plain = dataclasses.replace(how, augmentation=window.NONE)
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


def test_random_placement_reaches_both_ends():
    ramp = np.tile(np.arange(80, dtype=np.float32), (80, 1))
    how = dataclasses.replace(window.NONE, place=True)
    starts = [
        float(window.window_of({"ct": ramp}, None, 16, how, tf.constant([seed, 0]))[0]["ct"][0, 0, 0])
        for seed in range(60)
    ]
    assert min(starts) < 6 and max(starts) > 58 and 20 < np.mean(starts) < 44
