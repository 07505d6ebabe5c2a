"""The box of a mask, in any order of memory."""

import numpy as np
import pytest

from semicml_tf.geometry.box import bounding_box


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_box_holds_all_set_voxels_and_no_further_plane(order):
    mask = np.zeros((5, 6, 7), bool, order=order)
    assert bounding_box(mask) is None
    mask[1, 2, 6] = mask[3, 0, 4] = True
    assert bounding_box(mask) == (slice(1, 4), slice(0, 3), slice(4, 7))
    assert bounding_box(mask.transpose(2, 0, 1)) == (slice(4, 7), slice(1, 4), slice(0, 3))
