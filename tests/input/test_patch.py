"""Patches: one geometry for all modalities and the label, cut around a voxel, and mirrored in thin volumes."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from semicml_tf.geometry.patch import Patch
from semicml_tf.input import stream
from semicml_tf.input.augmentation import LIGHT, NONE, STRONG
from semicml_tf.input.patch import patch_of
from semicml_tf.input.semi_supervised_batches import BatchSettings, batches
from semicml_tf.input.stream import StreamSettings, window_stream
from semicml_tf.labels import PLAIN, SOFTMAX, LabelDefinition
from semicml_tf.records.dataset import DatasetInfo

PATCH = Patch((4, 16, 24))
SPATIAL = dataclasses.replace(LIGHT, gain=0.0, offset=0.0, noise=0.0, elastic=1.0, flip_volume=True)


def _patch(image, code, augmentation, seed, focus, labels=PLAIN):
    images = {"ct": image, "pet": image}
    return patch_of(images, code, PATCH, augmentation, tf.constant([seed, 1]), labels, (), tf.constant(focus))


@pytest.mark.parametrize("shape", [(9, 40, 30), (2, 10, 40), (1, 8, 8)])
def test_modalities_and_label_share_their_geometry(shape):
    code = np.zeros(shape, np.uint8)
    code[: shape[0] // 2 + 1, 3:8, 2:7] = 1
    for seed in range(6):
        images, target = _patch(code.astype(np.float32), code, SPATIAL, seed, (0, 5, 5))
        assert images["ct"].shape == target["label"].shape == (4, 16, 24, 1)
        np.testing.assert_array_equal(images["ct"], images["pet"])
        np.testing.assert_array_equal(images["ct"].numpy() >= 0.5, target["label"].numpy() == 1.0)


@pytest.mark.parametrize("augmentation", [NONE, SPATIAL], ids=["none", "spatial"])
@pytest.mark.parametrize("focus", [(0, 0, 0), (8, 39, 59), (5, 20, 30)])
def test_a_patch_contains_its_voxel(augmentation, focus):
    code = np.zeros((9, 40, 60), np.uint8)
    # Lesions as large as a scaled pixel, which interpolation does not lose.
    low = [max(place - 1, 0) for place in focus]
    code[tuple(slice(start, place + 2) for start, place in zip(low, focus))] = 1
    for seed in range(6):
        _, target = _patch(code.astype(np.float32), code, augmentation, seed, focus)
        assert target["label"].numpy().any(), seed


def test_without_augmentation_a_patch_is_a_part_of_the_volume_and_a_thin_volume_is_mirrored():
    volume = np.random.default_rng(0).normal(size=(2, 10, 24)).astype(np.float32)
    images, _ = _patch(volume, None, NONE, 0, (0, 0, 0))
    expected = np.pad(volume, ((1, 1), (3, 3), (0, 0)), mode="symmetric")
    np.testing.assert_allclose(images["ct"][..., 0], expected, atol=1e-5)
    volume = np.arange(9, dtype=np.float32)[:, None, None] * np.ones((9, 16, 24), np.float32)
    starts = {int(_patch(volume, None, NONE, seed, (4, 0, 0))[0]["ct"][0, 0, 0, 0]) for seed in range(20)}
    assert starts <= {1, 2, 3, 4} and len(starts) > 1


def test_codes_become_a_plane_per_class_in_each_slice():
    labels = LabelDefinition({"one": (1,), "two": (2,)}, SOFTMAX, ignore_value=9)
    values = np.random.default_rng(0).integers(0, 3, (4, 16, 24))
    values[1] = 9
    code = labels.encode(values)
    _, target = _patch(values.astype(np.float32), code, NONE, 0, (1, 3, 3), labels)
    np.testing.assert_array_equal(np.moveaxis(target["label"], -1, 0), labels.masks(code))
    np.testing.assert_array_equal(target["valid"][..., 0] == 0, values == 9)


def test_a_stream_of_patches_shows_lesions_in_labelled_cases_alone(phantom_dataset):
    info = DatasetInfo.load(phantom_dataset)
    cases = [case for case in info.cases("labelled") if case.lesion_slices]
    how = StreamSettings(info.modalities, Patch((4, 16, 16)), 16, True, 1.0, NONE, seed=3)
    (element,) = window_stream(info, cases, how).take(1).as_numpy_iterator()
    assert element["label"].max(axis=(1, 2, 3, 4)).all() and element["label"].shape == (16, 4, 16, 16, 1)
    # Without over-sampling, so small patches seldom contain a lesion.
    low = dataclasses.replace(how, lesion_fraction=0.0)
    (element,) = window_stream(info, cases, low).take(1).as_numpy_iterator()
    assert element["label"].max(axis=(1, 2, 3, 4)).mean() < 0.9
    data = BatchSettings(("labelled",), ("unlabelled",), 4, 6, dataclasses.replace(how, augmentation=STRONG))
    (batch,) = batches(info, data).take(1).as_numpy_iterator()
    assert set(batch["unlabelled"]) == {"image", "patient", "seed"}
    assert batch["unlabelled"]["image"]["pet"].shape == (6, 4, 16, 16, 1)
    (late,) = batches(info, data, first_step=2).take(1).as_numpy_iterator()
    *_, third = batches(info, data).take(3).as_numpy_iterator()
    tf.nest.map_structure(np.testing.assert_array_equal, third, late)


def test_groups_of_large_patches_have_fewer_visits_and_late_streams_stay_the_same(phantom_dataset, monkeypatch):
    info = DatasetInfo.load(phantom_dataset)
    how = StreamSettings(info.modalities, Patch((4, 16, 16)), 5, True, 0.5, NONE, seed=3)
    assert stream.visits_per_group(how) == 16
    # Two images and a label, (128, 128, 128) float32, are 24 MiB; a visit has four patches.
    large = dataclasses.replace(how, patch=Patch((128, 128, 128)))
    assert stream.visits_per_group(large) == 256 // (4 * 24)
    assert stream.visits_per_group(dataclasses.replace(large, labelled=False)) == 256 // (4 * 16)
    assert stream.visits_per_group(dataclasses.replace(large, patch=Patch((256, 256, 256)))) == 1
    assert stream.visits_per_group(dataclasses.replace(large, patch=Patch(4096))) == 16
    monkeypatch.setattr(stream, "_GROUP_BYTES", 2 * 4 * 3 * 4 * 4 * 16 * 16)
    assert stream.visits_per_group(how) == 2
    cases = info.cases("labelled")
    *_, fourth = window_stream(info, cases, how).take(4).as_numpy_iterator()
    (late,) = window_stream(info, cases, how, first_step=3).take(1).as_numpy_iterator()
    tf.nest.map_structure(np.testing.assert_array_equal, fourth, late)
