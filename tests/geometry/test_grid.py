"""Grids: values in physical space, and the grid that a network reads."""

import itertools

import numpy as np
import pytest

from semicml_tf.geometry.grid import Grid
from tests.geometry.test_resample import OBLIQUE, oriented


def corners(grid):
    """The eight corners of the grid's box in mm, (8, 3)."""
    ends = itertools.product(*((-0.5, n - 0.5) for n in grid.shape))
    return np.array([(grid.affine @ (*end, 1))[:3] for end in ends])


@pytest.mark.parametrize("spacing", [(4, 4, 4), (3.27, 1.0, 9.5), (0, 4, 0), (200, 200, 200)])
@pytest.mark.parametrize("turn", [np.eye(4), OBLIQUE], ids=["straight", "oblique"])
def test_the_network_grid_covers_the_box_and_is_centred_on_it(spacing, turn):
    grid = oriented((2, 0, 1), (-1, 1, -1), shape=(31, 17, 23), turn=turn)
    network = grid.for_network(spacing)
    np.testing.assert_allclose(corners(network).mean(0), corners(grid).mean(0), atol=1e-9)
    inside = np.linalg.inv(network.affine) @ np.c_[corners(grid), np.ones(8)].T
    # The slack for rounding that the size computation grants is a thousandth of a voxel.
    assert (inside[:3].T >= -0.5 - 1e-3).all() and (inside[:3].T <= np.array(network.shape) - 0.5 + 1e-3).all()
    own = grid.reordered()[0]
    wanted = [s or o for s, o in zip(spacing, own.spacing_mm)]
    np.testing.assert_allclose(network.spacing_mm, wanted)
    smallest = np.array(own.shape) * own.spacing_mm / wanted
    assert (np.array(network.shape) - smallest < 1).all()


def test_own_spacing_keeps_every_voxel():
    grid = oriented((1, 0, 2), (1, -1, -1))
    assert grid.for_network((0, 0, 0)).is_close(grid.reordered()[0], tolerance_mm=1e-9)


def test_rounding_of_the_spacing_adds_no_slice():
    grid = Grid((10, 10, 40), np.diag([2, 2, 3.27, 1]))
    assert grid.for_network((3.26995, 2, 2)).shape == (40, 10, 10)


def test_axes_keep_their_oblique_directions():
    grid = oriented((0, 1, 2), (1, 1, 1))
    network = grid.for_network((5, 5, 5))
    own = grid.reordered()[0]
    np.testing.assert_allclose(network.affine[:3, :3] / 5, own.affine[:3, :3] / own.spacing_mm, atol=1e-12)


def test_closeness_is_measured_at_the_far_corner():
    grid = Grid((100, 100, 100), np.eye(4))
    stretched = np.diag([1.002, 1, 1, 1])  # 0.2 mm at the far end
    assert not grid.is_close(Grid(grid.shape, stretched))
    assert grid.is_close(Grid(grid.shape, stretched), tolerance_mm=0.25)
    assert not grid.is_close(Grid((100, 100, 99), np.eye(4)))


def test_derived_sizes():
    grid = Grid((3, 4, 12), np.diag([10.0, 10, 10, 1]))
    assert grid.spacing_mm == (10, 10, 10)
    assert grid.voxel_volume_ml == pytest.approx(1.0)
    assert grid.diagonal_mm == pytest.approx(130.0)


@pytest.mark.parametrize("affine", [np.zeros((4, 4)), np.diag([1, 1, 0, 1]), np.full((4, 4), np.nan)])
def test_an_affine_without_an_inverse_is_refused(affine):
    with pytest.raises(ValueError, match="affine"):
        Grid((2, 2, 2), affine)
