"""Resampling between grids: exact where it must be, inverted where it can be."""

import itertools

import numpy as np
import pytest
from scipy import ndimage

from semicml_tf.geometry.grid import Grid
from semicml_tf.geometry.resample import reaches, resample, resample_mask

OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = np.array([[0.9363, -0.2896, 0.1987], [0.3130, 0.9447, -0.0978], [-0.1593, 0.1538, 0.9752]])
OBLIQUE[:3, :3] = np.linalg.qr(OBLIQUE[:3, :3])[0]

ORIENTATIONS = [(p, s) for p in itertools.permutations(range(3)) for s in itertools.product((1, -1), repeat=3)]


def oriented(permutation, signs, shape=(5, 7, 9), spacing=(1.1, 2.3, 3.7), turn=OBLIQUE):
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for axis, (world, sign) in enumerate(zip(permutation, signs)):
        affine[world, axis] = sign * spacing[axis]
    affine[:3, 3] = (-31.7, 12.9, 604.3)
    return Grid(shape, turn @ affine)


def ball(grid, centre_mm, radius_mm):
    points = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1) @ grid.affine[:3, :3].T
    return (np.linalg.norm(points + grid.affine[:3, 3] - centre_mm, axis=-1) <= radius_mm).astype(np.uint8)


def dice(a, b):
    return 2 * np.sum((a > 0) & (b > 0)) / (np.sum(a) + np.sum(b))


@pytest.mark.parametrize("turn", [np.eye(4), OBLIQUE], ids=["straight", "oblique"])
@pytest.mark.parametrize("permutation,signs", ORIENTATIONS)
def test_reordered_and_back_is_exact_in_all_48_orientations(permutation, signs, turn):
    grid = oriented(permutation, signs, turn=turn)
    volume = np.random.default_rng(0).normal(size=grid.shape).astype(np.float32)
    target, order, flips = grid.reordered()
    there = resample(volume, grid, target)
    expected = np.transpose(volume, order)
    expected = np.flip(expected, [axis for axis in range(3) if flips[axis]])
    np.testing.assert_array_equal(there, expected)
    np.testing.assert_array_equal(resample(there, target, grid), volume)
    np.testing.assert_array_equal(resample(there, target, grid, outside=-5.0), volume)


@pytest.mark.parametrize("permutation,signs", ORIENTATIONS)
def test_reordered_axes_run_to_head_back_and_left(permutation, signs):
    target, _, _ = oriented(permutation, signs, turn=np.eye(4)).reordered()
    directions = target.affine[:3, :3] / target.spacing_mm
    np.testing.assert_allclose(directions, [[0, 0, -1], [0, -1, 0], [1, 0, 0]], atol=1e-12)


def test_linear_ramp_is_reproduced_on_a_shifted_finer_grid():
    source = Grid((12, 12, 12), np.diag([3.0, 3, 3, 1]))
    affine = np.diag([1.5, 1.5, 1.5, 1])
    affine[:3, 3] = 3.3
    target = Grid((15, 15, 15), affine)

    def ramp(grid):
        i, j, k = np.meshgrid(*map(np.arange, grid.shape), indexing="ij")
        x, y, z = (grid.affine[a, a] * index + grid.affine[a, 3] for a, index in enumerate((i, j, k)))
        return (2 * x - 3 * y + 0.5 * z).astype(np.float32)

    np.testing.assert_allclose(resample(ramp(source), source, target), ramp(target), atol=1e-3)


def test_downsampling_keeps_means_and_does_not_alias():
    source = Grid((48, 48, 24), np.diag([1.0, 1, 2, 1]))
    target = source.for_network((4, 4, 4))
    noise = np.random.default_rng(1).normal(5, 1, source.shape).astype(np.float32)
    coarse = resample(noise, source, target)
    assert abs(coarse.mean() - noise.mean()) < 0.03
    assert coarse.std() < 0.4  # point sampling would keep 1
    stripes = np.broadcast_to((np.arange(48) % 2).astype(np.float32)[:, None, None], source.shape)
    np.testing.assert_allclose(resample(stripes, source, target)[:, 2:-2, 2:-2], 0.5, atol=0.06)


def test_beyond_the_box_the_border_is_repeated_or_the_given_value_taken():
    source = Grid((4, 4, 4), np.eye(4))
    affine = np.eye(4)
    affine[:3, 3] = -2
    target = Grid((8, 8, 8), affine)
    volume = np.full(source.shape, 7, np.float32)
    assert np.all(resample(volume, source, target) == 7)
    outside = resample(volume, source, target, outside=-1)
    assert np.sum(outside == 7) == 64 and np.sum(outside == -1) == 8**3 - 64


def test_a_coarse_voxel_is_foreground_from_half_its_cover_on():
    source = Grid((4, 4, 4), np.eye(4))
    affine = np.diag([4.0, 4, 4, 1])
    affine[:3, 3] = 1.5
    whole = Grid((1, 1, 1), affine)
    mask = np.zeros(source.shape, np.uint8)
    mask[:2] = 1
    assert resample_mask(mask, source, whole).item() == 1
    mask[0, 0, 0] = 0
    assert resample_mask(mask, source, whole).item() == 0


def test_a_mask_elsewhere_or_empty_leaves_nothing():
    source = Grid((4, 4, 4), np.eye(4))
    affine = np.eye(4)
    affine[:3, 3] = 50
    assert not resample_mask(np.ones(source.shape, np.uint8), source, Grid((4, 4, 4), affine)).any()
    assert not resample_mask(np.zeros(source.shape, np.uint8), source, source).any()


def test_where_a_mask_lies_does_not_change_its_resampling():
    # A far second voxel widens the part of the target that is computed, and nothing else.
    source = oriented((1, 2, 0), (1, -1, 1), shape=(40, 30, 30), spacing=(2.0, 3.0, 2.0))
    target = source.for_network((4.0, 4.0, 4.0))
    one = ball(source, (source.affine @ [12, 12, 12, 1])[:3], 12.0)
    both = one.copy()
    both[34:, 24:, 24:] = 1
    near, far = resample_mask(one, source, target), resample_mask(both - one, source, target)
    np.testing.assert_array_equal(resample_mask(both, source, target), near | far)


def test_a_mask_that_touches_the_border_keeps_its_outermost_voxels_on_a_finer_grid():
    coarse = Grid((4, 4, 4), np.diag([4.0, 4, 4, 1]))
    affine = np.diag([2.0, 2, 2, 1])
    affine[:3, 3] = -1  # the same box, half the spacing
    fine = Grid((8, 8, 8), affine)
    assert resample_mask(np.ones(coarse.shape, np.uint8), coarse, fine).all()


@pytest.mark.parametrize("radius_mm,least,loss", [(10.0, 0.88, 0.04), (25.0, 0.95, 0.015)])
def test_a_mask_goes_to_the_network_grid_of_an_oblique_volume_and_back(radius_mm, least, loss):
    grid = oriented((1, 2, 0), (1, -1, 1), shape=(60, 40, 50), spacing=(2.0, 3.0, 2.0))
    network = grid.for_network((3.0, 4.0, 4.0))
    ratios = []
    for place in np.random.default_rng(0).uniform(-1, 1, (8, 3)) + [30, 20, 25]:
        centre = (grid.affine @ [*place, 1])[:3]
        mask = ball(grid, centre, radius_mm)
        there = resample_mask(mask, grid, network)
        assert dice(there, ball(network, centre, radius_mm)) > 0.93
        assert dice(resample_mask(there, network, grid), mask) > least
        ratios.append(there.sum() * network.voxel_volume_ml / (mask.sum() * grid.voxel_volume_ml))
    assert np.mean(ratios) == pytest.approx(1, abs=loss)  # smoothing would lose 0.13 and 0.04


def test_a_volume_of_another_shape_than_its_grid_is_refused():
    with pytest.raises(ValueError, match="shape"):
        resample(np.zeros((2, 2, 3)), Grid((2, 2, 2), np.eye(4)), Grid((2, 2, 2), np.eye(4)))


@pytest.mark.parametrize("permutation,signs", ORIENTATIONS[::5])
@pytest.mark.parametrize("tilt", [0.0, 1e-7, 0.01], ids=["parallel", "rounded", "tilted"])
def test_parallel_and_tilted_grids_have_the_values_of_all_eight_neighbours(permutation, signs, tilt):
    source = oriented(permutation, signs, shape=(7, 9, 8))
    affine = source.for_network((2.0, 1.3, 3.0)).affine.copy()
    affine[:3, 0] += tilt * affine[:3, 1]
    affine[:3, 3] -= affine[:3, :3] @ [2.2, 1.7, 0.4]
    target = Grid((20, 18, 11), affine)
    volume = np.random.default_rng(0).random(source.shape, np.float32)
    index = np.stack(np.meshgrid(*map(np.arange, target.shape), indexing="ij")).reshape(3, -1)
    to_source = np.linalg.inv(source.affine) @ target.affine
    index = to_source[:3, :3] @ index + to_source[:3, 3:]
    expected = ndimage.map_coordinates(volume.astype(np.float64), index, order=1, mode="nearest").reshape(target.shape)
    found = resample(volume, source, target, smooth=False, axis_by_axis=True)
    np.testing.assert_allclose(found, expected, atol=1e-7 if tilt == 0 else 1e-5)
    size = np.array(source.shape)[:, np.newaxis]
    inside = ((index >= -0.5) & (index <= size - 0.5)).all(axis=0).reshape(target.shape)
    assert 0.05 < inside.mean() < 0.95
    np.testing.assert_array_equal(reaches(source, target), inside)
    found = resample(volume, source, target, smooth=False, outside=-1.0, axis_by_axis=True)
    np.testing.assert_allclose(found, np.where(inside, expected, -1.0), atol=1e-7 if tilt == 0 else 1e-5)
