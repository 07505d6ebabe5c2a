"""Windows: one geometry for all modalities and the label, intensities of each modality alone, codes kept codes."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from semicml_tf.input.augmentation import LIGHT, NONE, STRONG
from semicml_tf.input.window import window_of
from semicml_tf.labels import SOFTMAX, LabelDefinition

# Geometry alone: light's, and elastic deformation of each window.
SPATIAL = dataclasses.replace(LIGHT, gain=0.0, offset=0.0, noise=0.0)
ELASTIC = dataclasses.replace(SPATIAL, elastic=1.0)


def _window_of(images, *rest, **how):
    """As `window_of`, of slices (rows, columns)."""
    return window_of({name: np.asarray(image)[..., np.newaxis] for name, image in images.items()}, *rest, **how)


@pytest.mark.parametrize("how", [SPATIAL, ELASTIC], ids=["light", "elastic"])
def test_modalities_and_label_share_their_geometry(how):
    """The same picture given as both modalities and as label must be cut, turned and mirrored alike."""
    blob = np.zeros((40, 30), np.float32)
    blob[10:18, 5:20] = 1.0
    for seed in range(20):
        images, target = _window_of({"ct": blob, "pet": blob}, blob.astype(np.uint8), 48, how, tf.constant([seed, 1]))
        np.testing.assert_array_equal(images["ct"], images["pet"])
        np.testing.assert_array_equal(images["ct"].numpy() >= 0.5, target["label"].numpy() == 1.0)


def test_a_label_that_cannot_be_cut_at_a_half_is_refused():
    slices = np.zeros((8, 8), np.float32)
    with pytest.raises(ValueError, match="codes, of type uint8, got float32"):
        _window_of({"ct": slices}, slices, 8, NONE, tf.constant([1, 2]))


CLASSES = LabelDefinition({"one": (1,), "two": (2,), "three": (3,)}, SOFTMAX, ignore_value=9)
REGIONS = LabelDefinition({"whole": (1, 2), "core": (2,)})


@pytest.mark.parametrize("labels", [CLASSES, REGIONS], ids=["classes", "regions"])
def test_without_augmentation_codes_become_a_plane_per_class(labels):
    values = np.random.default_rng(0).integers(0, 3, (16, 16))
    values[:4] = labels.ignore_value or 0
    codes = labels.encode(values)
    _, target = _window_of({"ct": values}, codes, 16, NONE, tf.constant([1, 2]), labels)
    np.testing.assert_array_equal(np.moveaxis(target["label"], -1, 0), labels.masks(codes))
    assert ("valid" in target) == (labels.ignore_value is not None)
    if "valid" in target:
        np.testing.assert_array_equal(target["valid"][..., 0] == 0, labels.ignored(codes))


@pytest.mark.parametrize("level", [LIGHT, dataclasses.replace(STRONG, elastic=1.0)], ids=["light", "strong"])
def test_augmentation_makes_no_class_between_two_classes_and_keeps_nested_regions_nested(level):
    values = np.repeat(np.where(np.arange(32) < 16, 1, 3)[np.newaxis], 32, axis=0)
    for seed in range(10):
        draw = tf.constant([seed, 3])
        _, target = _window_of({"ct": values}, CLASSES.encode(values), 32, level, draw, CLASSES)
        label = target["label"].numpy()
        assert label[..., 1].sum() == 0 and (label.sum(axis=-1) == 1).all()
        _, target = _window_of({"ct": values}, REGIONS.encode(values - 1), 32, level, draw, REGIONS)
        whole, core = np.moveaxis(target["label"].numpy(), -1, 0)
        assert core.any() and (core <= whole).all()


def test_without_augmentation_a_window_is_the_centre_mirrored_at_the_border():
    rng = np.random.default_rng(0)
    small, large = rng.normal(size=(20, 24)).astype(np.float32), rng.normal(size=(40, 48)).astype(np.float32)
    images, _ = _window_of({"ct": small}, None, 32, NONE, tf.constant([1, 2]))
    np.testing.assert_allclose(images["ct"][..., 0], np.pad(small, ((6, 6), (4, 4)), mode="symmetric"), atol=1e-6)
    # Of a larger slice any part is shown, not its centre alone.
    corners = set()
    for seed in range(20):
        images, _ = _window_of({"ct": large}, None, 32, NONE, tf.constant([seed, 2]))
        assert images["ct"].shape == (32, 32, 1)
        corners.add(float(images["ct"][0, 0, 0]))
    assert len(corners) > 10


def test_intensities_vary_independently_between_modalities():
    flat = np.ones((32, 32), np.float32)
    how = dataclasses.replace(NONE, gain=0.2, offset=0.2)
    ratios = []
    for seed in range(8):
        images, _ = _window_of({"ct": flat, "pet": flat}, None, 32, how, tf.constant([seed, 9]))
        ratios.append(float(images["ct"][0, 0, 0] - images["pet"][0, 0, 0]))
    assert np.std(ratios) > 0.01


def test_random_placement_reaches_both_ends():
    ramp = np.tile(np.arange(80, dtype=np.float32), (80, 1))
    how = dataclasses.replace(NONE, place=True)
    starts = [
        float(_window_of({"ct": ramp}, None, 16, how, tf.constant([seed, 0]))[0]["ct"][0, 0, 0]) for seed in range(60)
    ]
    assert min(starts) < 6 and max(starts) > 58 and 20 < np.mean(starts) < 44


def test_strong_moves_a_bright_voxel_of_both_modalities_to_one_place_and_varies_each_intensity():
    image = np.zeros((32, 32), np.float32)
    image[12:15, 18:21] = 5.0
    differ = 0
    for seed in range(12):
        images, _ = _window_of(
            {"t1": image, "t2": image}, None, 32, STRONG, tf.constant([seed, 7]), without_unit=("t1",)
        )
        ct, pet = (images[name].numpy()[..., 0] for name in ("t1", "t2"))
        places = [np.unravel_index(np.argmax(one), one.shape) for one in (ct, pet)]
        # Blur and low resolution move the highest of the bright pixels.
        assert np.abs(np.subtract(*places)).max() <= 3
        differ += not np.allclose(ct, pet, atol=1e-2)
    assert differ == 12


def test_a_strong_window_is_the_same_eagerly_and_in_a_dataset_and_other_for_another_seed():
    image = np.random.default_rng(0).normal(size=(40, 36)).astype(np.float32)
    code = (image > 0.5).astype(np.uint8)
    often = dataclasses.replace(STRONG, elastic=1.0, bias_field=1.0, gamma=1.0, blur=1.0, low_resolution=1.0)

    def window(seed):
        return _window_of({"t1": image}, code, 32, often, tf.stack([seed, 2]), without_unit=("t1",))

    mapped = tf.data.Dataset.range(2, output_type=tf.int32).map(window)
    (first, label), (second, _) = mapped
    images, target = window(tf.constant(0))
    np.testing.assert_allclose(first["t1"], images["t1"], atol=1e-4)
    # A pixel that is half covered may round to either side.
    assert np.mean(label["label"] != target["label"]) < 0.01
    assert set(np.unique(label["label"])) == {0.0, 1.0}
    assert not np.allclose(first["t1"], second["t1"], atol=0.1)


def test_neighbouring_slices_share_geometry_and_intensities_with_the_slice():
    image = np.random.default_rng(0).normal(size=(40, 36)).astype(np.float32)
    code = (image > 0.5).astype(np.uint8)
    how = dataclasses.replace(STRONG, noise=0.0, elastic=1.0, bias_field=1.0, gamma=1.0, blur=1.0)
    for seed in range(4):
        draw = tf.constant([seed, 3])
        alone, label = _window_of({"t1": image, "t2": image}, code, 32, how, draw, without_unit=("t1",))
        three = {name: np.repeat(image[..., np.newaxis], 3, axis=-1) for name in ("t1", "t2")}
        images, target = window_of(three, code, 32, how, draw, without_unit=("t1",))
        np.testing.assert_array_equal(label["label"], target["label"])
        for name in images:
            np.testing.assert_allclose(images[name], np.repeat(alone[name], 3, axis=-1), atol=1e-5)
