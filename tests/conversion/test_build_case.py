"""Codes on another grid: classes are never mixed, and ignored voxels do not count."""

import numpy as np

from semicml_tf.conversion.build_case import resample_codes
from semicml_tf.geometry.grid import Grid
from semicml_tf.geometry.resample import resample_mask
from semicml_tf.labels import PLAIN, SOFTMAX, LabelDefinition

FINE = Grid((4, 12, 12), np.diag([1.0, 1, 1, 1]))
COARSE = Grid((2, 6, 6), np.array([[2.0, 0, 0, 0.5], [0, 2, 0, 0.5], [0, 0, 2, 0.5], [0, 0, 0, 1]]))
RNG = np.random.default_rng(0)


def test_a_plain_target_is_the_resampled_mask():
    mask = (RNG.random(FINE.shape) < 0.5).astype(np.uint8)
    np.testing.assert_array_equal(resample_codes(mask, PLAIN, FINE, COARSE), resample_mask(mask, FINE, COARSE))


def test_nested_regions_stay_nested():
    labels = LabelDefinition({"wt": (1, 2), "tc": (2,)})
    values = RNG.integers(0, 3, FINE.shape)
    codes = resample_codes(labels.encode(values), labels, FINE, COARSE)
    assert codes.any() and not (labels.mask(codes, "tc") & ~labels.mask(codes, "wt") & 1).any()
    np.testing.assert_array_equal(labels.mask(codes, "wt"), resample_mask((values > 0).astype(np.uint8), FINE, COARSE))


def test_between_classes_1_and_3_no_class_2_appears():
    labels = LabelDefinition({"one": (1,), "two": (2,), "three": (3,)}, SOFTMAX)
    values = np.where(np.arange(12) < 5, 1, 3) * np.ones(FINE.shape, int)
    codes = resample_codes(labels.encode(values), labels, FINE, COARSE)
    assert set(np.unique(codes)) == {1, 3}


def test_one_exclusive_class_is_cut_like_a_mask():
    labels = LabelDefinition({"organ": (1,)}, SOFTMAX)
    mask = (RNG.random(FINE.shape) < 0.5).astype(np.uint8)
    np.testing.assert_array_equal(resample_codes(mask, labels, FINE, COARSE), resample_mask(mask, FINE, COARSE))


def test_only_the_annotated_part_of_a_voxel_counts():
    labels = LabelDefinition({"lesion": (1,)}, ignore_value=9)
    values = np.zeros(FINE.shape, int)
    # Slices 1 and 3 were not annotated: half of each coarse voxel, which is then ignored.
    values[1::2] = 9
    assert labels.ignored(resample_codes(labels.encode(values), labels, FINE, COARSE)).all()
    values = np.zeros(FINE.shape, int)
    values[:, :, :4] = 1
    annotated = resample_codes(labels.encode(values), labels, FINE, COARSE)
    values[0, :, 8:] = 9  # a quarter of the voxels there at most
    again = resample_codes(labels.encode(values), labels, FINE, COARSE)
    np.testing.assert_array_equal(annotated[:, :, :4], again[:, :, :4])
