"""Outlines of masks, as pixels and on axes."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from semicml_tf.geometry import outlines


def test_a_border_is_two_pixels_wide_inside_or_outside_the_mask():
    mask = np.zeros((20, 20), bool)
    mask[5:15, 4:16] = True
    inside, outside = outlines.border(mask), outlines.border(mask, outside=True)
    assert inside.sum() == 10 * 12 - 6 * 8 and not inside[7:13, 6:14].any()
    # Two lines along each side, and a pixel in each corner.
    assert outside.sum() == 2 * 2 * (10 + 12) + 4 and not (outside & mask).any()


def test_a_mask_that_fills_the_picture_has_a_border():
    assert outlines.border(np.ones((6, 6), bool)).sum() == 6 * 6 - 2 * 2


@pytest.mark.parametrize(("values", "lines"), [(np.ones((4, 6), bool), 1), (np.full((4, 6), 0.3), 0)])
def test_a_line_is_drawn_where_values_cross_the_cut(values, lines):
    axes = Figure().subplots()
    outlines.draw(axes, values, "red", cut=0.4)
    assert len(axes.collections) == lines
