"""Patches of 3-D networks, on hand-made fingerprints."""

import itertools
import math

import pytest

from semicml_tf.conversion.planning import patches
from semicml_tf.geometry.strides import strides
from tests.conversion.planning.test_plan import BRATS, CT, STS, image, made, settings

ALL, IN_PLANE = (2, 2, 2), (1, 2, 2)


def test_patches_of_isotropic_heads_are_cubes():
    plan = patches.plan_patches(BRATS, settings("t2", "t1ce", spacing=(1, 1, 1)))
    assert plan.window == (48, 48, 48) and plan.strides[0] == ALL
    assert plan.reason.startswith(
        "for 3-D, train with --network=unet3d --window=48,48,48 --labelled_batch=2 --unlabelled_batch=2: patches of at "
        "most 131072 voxels; the median body is 140 x 172 x 138; 4 levels, divided by 2 x 2 x 2, "
    )


def test_slices_that_are_far_apart_are_divided_later():
    plan = patches.plan_patches(STS, settings("ct", "pet", spacing=(5, 2, 2)))
    assert plan.strides[0] == IN_PLANE and ALL in plan.strides
    assert plan.window[0] < plan.window[1]


@pytest.mark.parametrize("spacing, body", [((5, 1, 1), (15, 100, 100)), ((1, 5, 1), (100, 100, 3))])
def test_a_body_of_few_voxels_along_an_axis_has_no_patches(spacing, body):
    line = patches.plan_patches(made(ct=image(spacing, body, **CT)), settings("ct", spacing=spacing))
    assert "no patches for 3-D networks: the median body is" in line and "\n" not in line


SPACINGS = ((0, 0, 0), (1, 1, 1), (3, 1, 1), (10, 0.5, 0.5), (0.7, 1.5, 1))
BODIES = ((4, 300, 300), (13, 77, 1000), (2000, 2000, 2000), (50, 51, 53), (30, 4, 5))


@pytest.mark.parametrize("spacing, body", itertools.product(SPACINGS, BODIES))
def test_patches_fit_their_limit_and_the_network(spacing, body):
    known = [mm or 2 for mm in spacing]
    extent = [size * mm for size, mm in zip(body, known)]
    plan = patches.plan_patches(made(ct=image(known, extent, **CT)), settings("ct", spacing=spacing))
    assert math.prod(plan.window) <= patches.MOST_VOXELS and min(plan.window) >= 4
    assert plan.strides == strides(plan.window, spacing, levels=5)
    for size, whole, steps in zip(plan.window, body, list(zip(*plan.strides)) or [(1,)] * 3):
        assert size % math.prod(steps) == 0 and size < whole + 16
