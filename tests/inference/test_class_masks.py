"""Masks of several classes from maps that come one after the other, in closed form."""

import numpy as np
import pytest

from semicml_tf.inference.class_masks import ClassMasks, source_values
from semicml_tf.labels import LabelDefinition
from semicml_tf.postprocessing.steps import Postprocessing, largest_class
from tests.support.class_models import EXCLUSIVE, REGIONS


def test_exclusive_classes_are_the_largest_as_in_training():
    rng = np.random.default_rng(0)
    maps = rng.dirichlet(np.ones(4), (5, 6, 7)).astype(np.float32)[..., 1:].transpose(3, 0, 1, 2)
    maps[:, 0, 0, 0] = 0.25, 0.25, 0.25  # the background's as well
    maps[:, 0, 0, 1] = 0.25, 0.375, 0.375
    masks = ClassMasks(EXCLUSIVE, {}, {})
    for one in maps:
        masks.add(one)
    labels = masks.labels()
    np.testing.assert_array_equal(labels, largest_class(maps))
    assert labels.dtype == np.uint8 and (labels[0, 0, 0], labels[0, 0, 1]) == (0, 2)
    np.testing.assert_array_equal(masks.masks(), [labels == number for number in (1, 2, 3)])


def test_regions_overlap_and_have_their_own_thresholds_and_steps():
    first, second = np.zeros((2, 3, 5, 5), np.float32)
    first[1, 1:4, 1:4], first[1, 2, 2] = 0.5, 0.0
    second[1, 1:4, 1:4] = 0.5
    masks = ClassMasks(REGIONS, {"whole": 0.4, "core": 0.4}, {"core": Postprocessing(min_ml=1.0)}, 0.1)
    masks.add(first)
    masks.add(second, 0.6)
    assert [mask.sum() for mask in masks.masks()] == [8, 0] and masks.labels().shape == (2, 3, 5, 5)


def test_a_filled_hole_of_a_class_takes_no_voxel_of_another_class():
    maps = np.zeros((3, 5, 5, 5), np.float32)
    maps[0, 1:4, 1:4, 1:4] = 1
    maps[:, 2, 2, 2] = 0, 1, 0  # a class inside another
    maps[:, 2, 2, 1] = 0, 0, 0  # a hole beside it
    maps[:, 0, 0, 0] = 0, 0, 1  # a speck
    steps = {"fat": Postprocessing(fill_holes=True), "bone": Postprocessing(min_ml=0.2)}
    masks = ClassMasks(EXCLUSIVE, {}, steps, 0.1)
    for one in maps:
        masks.add(one)
    labels = masks.labels()
    assert labels[2, 2, 2] == 2 and labels[0, 0, 0] == 0
    assert [int(mask.sum()) for mask in masks.masks()] == [25, 1, 0]


@pytest.mark.parametrize(
    "values, dtype",
    [((3, 300, 2), np.int16), ((1, 2, 255), np.uint8), ((-1, 2, 3), np.int16), ((1, 2, 70000), np.int32)],
)
def test_source_values(values, dtype):
    labels = LabelDefinition({name: (value,) for name, value in zip("abc", values)}, "softmax")
    found = source_values(np.uint8([[0, 1], [2, 3]]), labels)
    np.testing.assert_array_equal(found, [[0, values[0]], [values[1], values[2]]])
    assert found.dtype == dtype
