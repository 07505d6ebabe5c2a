"""Labels beside probabilities in closed form: which contradict, and which are next to a decision."""

import numpy as np

from semicml_tf.exporting.label_check import contradictions
from tests.support import class_models


def test_regions_each_have_their_threshold():
    told = class_models.manifest(class_models.REGIONS)  # 0.3 and 0.6
    soft = np.float32([[[[0.4, 0.4], [0.2, 0.7], [0.3001, 0.6]]]])
    right = np.uint8([[[[1, 0], [0, 1], [0, 0]]]])
    assert not contradictions(right, soft, told, 1e-3).any()
    np.testing.assert_array_equal(contradictions(1 - right, soft, told, 1e-3)[0, 0], [[1, 1], [1, 1], [0, 0]])


def test_of_exclusive_classes_the_largest_counts_beside_the_background():
    told = class_models.manifest(class_models.EXCLUSIVE)
    # The last three: the background has 0.7, ties with class 2, and is next to class 1.
    soft = np.float32([[[[0.5, 0.3, 0.1], [0.1, 0.1, 0.1], [0.1, 0.4, 0.1], [0.4001, 0.1, 0.1]]]])
    right = np.uint8([1, 0, 0, 1]).reshape(1, 1, 4, 1)
    assert not contradictions(right, soft, told, 1e-6).any()
    assert not contradictions(np.uint8([1, 0, 2, 0]).reshape(1, 1, 4, 1), soft, told, 1e-3).any()
    wrong = np.uint8([2, 1, 3, 200]).reshape(1, 1, 4, 1)
    assert contradictions(wrong, soft, told, 1e-3).all()
