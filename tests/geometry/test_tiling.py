"""Windows cut from slices and joined again."""

import numpy as np
import pytest

from semicml_tf.geometry import tiling


@pytest.mark.parametrize("shape", [(3, 19, 23), (2, 64, 64), (1, 64, 31), (2, 65, 200), (1, 150, 40), (1, 1, 1)])
def test_cut_then_join_gives_the_volume_back(shape):
    volume = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    tiles = tiling.cut(volume, 64)
    assert tiles.shape[1:] == (64, 64) and len(tiles) % shape[0] == 0
    np.testing.assert_allclose(tiling.join(tiles, shape, 64), volume, atol=1e-6)


def test_a_window_sized_slice_is_passed_on_unchanged():
    volume = np.random.default_rng(0).normal(size=(4, 32, 32)).astype(np.float32)
    np.testing.assert_array_equal(tiling.cut(volume, 32), volume)


def test_small_slices_are_mirrored_at_their_border():
    volume = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    np.testing.assert_array_equal(tiling.cut(volume, 4)[0], np.pad(volume[0], [(1, 1), (0, 1)], mode="symmetric"))


def test_overlapping_windows_are_averaged_with_more_weight_at_their_middle():
    tiles = tiling.cut(np.zeros((1, 8, 14), np.float32), 8)
    assert len(tiles) == 2
    tiles[1] = 1.0
    joined = tiling.join(tiles, (1, 8, 14), 8)[0, 4]
    np.testing.assert_array_equal(joined[:6], 0)
    np.testing.assert_array_equal(joined[8:], 1)
    assert 0 < joined[6] < 0.5 + 1e-6 and 0.5 - 1e-6 < joined[7] < 1
    assert joined[6] + joined[7] == pytest.approx(1)
