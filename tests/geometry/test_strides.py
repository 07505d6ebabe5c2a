"""Strides of networks for patches."""

import pytest

from semicml_tf.errors import UserError
from semicml_tf.geometry.strides import strides
from semicml_tf.labels import PLAIN
from semicml_tf.networks import catalogue
from semicml_tf.runs.settings import TrainSettings

ALL, IN_PLANE = (2, 2, 2), (1, 2, 2)


@pytest.mark.parametrize(
    "window, spacing, expected",
    [
        ((32, 32, 32), None, [ALL, ALL, ALL]),
        ((32, 64, 64), (0, 0, 0), [ALL, ALL, ALL, IN_PLANE]),
        # Slices join in as soon as their distance is less than twice the pixels' size.
        ((16, 64, 64), (5, 1, 1), [IN_PLANE, IN_PLANE, ALL, ALL]),
        ((16, 64, 64), (2, 1, 1), [IN_PLANE, ALL, ALL, IN_PLANE]),
        ((16, 64, 64), (1.9, 1, 1), [ALL, ALL, IN_PLANE, IN_PLANE]),
        ((16, 64, 64), (0.5, 1, 1), [(2, 1, 1), ALL, IN_PLANE, IN_PLANE]),
        ((4, 8, 8), (1, 1, 1), [IN_PLANE]),
        ((7, 7, 7), (1, 1, 1), []),
        # Five levels at most.
        ((256, 256, 256), (1, 1, 1), [ALL] * 4),
    ],
)
def test_axes_are_divided_where_voxels_are_shortest_and_the_patch_is_long(window, spacing, expected):
    assert list(strides(window, spacing, levels=5)) == expected


def test_a_specification_of_patches_takes_its_strides_from_the_spacing():
    spec = catalogue.specification("unet", window=(8, 32, 32), width=2, spacing_mm=(3, 1, 1))
    assert (spec.dimensions, spec.levels, spec.strides) == (3, 4, (IN_PLANE, ALL, IN_PLANE))
    with pytest.raises(UserError, match=r"multiple of \(2, 8, 8\), got \(9, 32, 32\). Correct --window"):
        TrainSettings(window=(9, 32, 32)).spec_for(PLAIN, (3, 1, 1))
