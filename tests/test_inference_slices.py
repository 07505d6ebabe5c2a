"""Windows cut, answered and joined batch by batch give what they give all at once."""

import numpy as np
import pytest

from semicml_tf.geometry import tiling
from semicml_tf.inference import slices

WINDOW = 16
RAMP = np.linspace(0, 1, WINDOW, dtype=np.float32)


@pytest.mark.parametrize("shape", [(5, 16, 16), (5, 9, 11), (4, 40, 12), (3, 37, 50)])
@pytest.mark.parametrize("batch_size", [1, 4, 7, 1000])
def test_batches_give_the_same_bits_as_the_whole(shape, batch_size):
    volume = np.random.default_rng(0).normal(size=shape).astype(np.float32)

    def predict(batch):
        assert 1 <= len(batch) <= batch_size and batch.dtype == np.float32
        return batch * RAMP[:, None, None] + RAMP[:, None]  # depends on the place in the window

    tiles = tiling.cut(volume, WINDOW)
    assert len(tiles) == len(volume) * tiling.per_slice(shape, WINDOW)
    expected = tiling.join(tiles * RAMP[:, None] + RAMP, shape, WINDOW)
    np.testing.assert_array_equal(slices.probabilities(volume, WINDOW, predict, batch_size=batch_size), expected)
    half = volume.astype(np.float16)
    found = slices.probabilities(half, WINDOW, predict, batch_size=batch_size)
    np.testing.assert_array_equal(
        found, slices.probabilities(half.astype(np.float32), WINDOW, predict, batch_size=batch_size)
    )
