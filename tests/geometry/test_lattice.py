"""Grids with the same voxels in another order, and the causes named of grids that differ."""

import itertools

import numpy as np
import pytest

from semicml_tf.geometry import lattice
from semicml_tf.geometry.grid import Grid
from tests.support.evaluation_data import oblique_grid

GRID = oblique_grid((7, 6, 5))


def reordered(array, grid, order, flips):
    """The same volume with other index axes: array and grid agree, as a good converter writes them."""
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    for axis, (source, flip) in enumerate(zip(order, flips)):
        matrix[source, axis] = -1 if flip else 1
        matrix[source, 3] = grid.shape[source] - 1 if flip else 0
    other = Grid(tuple(grid.shape[axis] for axis in order), grid.affine @ matrix)
    return np.flip(array.transpose(order), [axis for axis, flip in enumerate(flips) if flip]), other


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_each_orientation_of_a_volume_is_put_back(order):
    array = np.arange(7 * 6 * 5).reshape(7, 6, 5)
    for flips in itertools.product((False, True), repeat=3):
        turned, own = reordered(array, GRID, order, flips)
        place = lattice.placement(own, GRID)
        np.testing.assert_array_equal(place.apply(turned), array)
        assert place.is_whole and place.is_reordered == (turned.shape != array.shape or (turned != array).any())


def test_a_box_of_the_grid_is_placed_in_it():
    array = np.arange(1, 7 * 6 * 5 + 1).reshape(7, 6, 5)
    box = (slice(1, 4), slice(0, 6), slice(2, 5))
    turned, own = reordered(array[box], GRID.cropped(box), (1, 2, 0), (True, False, True))
    place = lattice.placement(own, GRID)
    assert not place.is_whole and place.box == box
    placed = place.apply(turned)
    np.testing.assert_array_equal(placed[box], array[box])
    assert np.count_nonzero(placed) == array[box].size
    assert lattice.placement(GRID, GRID.cropped(box)) is None  # reaches beyond


def _with_affine(change):
    affine = GRID.affine.copy()
    change(affine)
    return Grid(GRID.shape, affine)


def _shift(affine):
    affine[:3, 3] += 2 * affine[:3, 2]


def _flip_without_moving(affine):
    affine[:3, 1] *= -1


def _to_lps(affine):
    affine[:2] *= -1


def _lose(affine):
    affine[:] = np.eye(4)


CAUSES = {
    "shifted": (_with_affine(_shift), "origin is shifted by .* = \\(0, 0, 2\\) voxels"),
    "flipped": (_with_affine(_flip_without_moving), "axes 1 are reversed in its affine"),
    "LPS": (_with_affine(_to_lps), "in LPS coordinates"),
    "lost": (_with_affine(_lose), "lost spacing, origin and directions"),
    "transposed": (Grid(GRID.shape[::-1], GRID.affine), "axes are in another order"),
    "cropped": (GRID.cropped((slice(0, 7), slice(1, 6), slice(0, 5))), "cropped or padded"),
    "resampled": (Grid((14, 12, 10), GRID.affine @ np.diag([0.5, 0.5, 0.5, 1])), "^$"),
}


@pytest.mark.parametrize("name", CAUSES)
def test_the_cause_of_another_grid_is_named(name):
    import re

    other, expected = CAUSES[name]
    assert lattice.placement(other, GRID) is None or not lattice.placement(other, GRID).is_whole
    assert re.search(expected, lattice.likely_cause(other, GRID)), lattice.likely_cause(other, GRID)


def test_a_grid_in_words():
    grid = Grid((7, 6, 5), np.diag([-1.5, 2.0, 3.0, 1.0]))
    expected = "7 x 6 x 5 voxels of 1.5 x 2 x 3 mm, origin (0, 0, 0) mm, axes to the left, front, head"
    assert lattice.described(grid) == expected
