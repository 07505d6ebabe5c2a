"""A mask is 0/1: other values are refused where they would become foreground."""

import numpy as np
import pytest

from semicml_tf.geometry.grid import Grid
from semicml_tf.geometry.mask import binary
from semicml_tf.geometry.resample import resample_mask
from semicml_tf.postprocessing.steps import Postprocessing


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int32, np.float32])
def test_zeros_and_ones_of_any_type_become_uint8(kind):
    mask = np.array([[0, 1], [1, 0]], kind)
    assert binary(mask).dtype == np.uint8
    np.testing.assert_array_equal(binary(mask), [[0, 1], [1, 0]])


@pytest.mark.parametrize(
    "values, said",
    [(np.array([0, 2, 4, 2], np.uint8), "2, 4"), (np.array([-1, 1]), "-1"), (np.array([0.5, np.nan]), "0.5, nan")],
)
def test_other_values_are_refused(values, said):
    with pytest.raises(ValueError, match=f"expected a mask of the values 0 and 1, got also {said}$"):
        binary(values)


def test_what_makes_masks_of_masks_refuses_other_values():
    labels = np.full((2, 2, 2), 2, np.uint8)
    grid = Grid(labels.shape, np.eye(4))
    for call in (lambda: resample_mask(labels, grid, grid), lambda: Postprocessing(largest=True).apply(labels, 1.0)):
        with pytest.raises(ValueError, match="got also 2"):
            call()
