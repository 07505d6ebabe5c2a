"""Windows cut, answered and joined batch by batch give what they give all at once."""

import dataclasses

import numpy as np
import pytest

from semicml_tf.errors import UserError
from semicml_tf.geometry import tiling
from semicml_tf.geometry.grid import Grid
from semicml_tf.geometry.patch import Patch
from semicml_tf.geometry.resample import reaches, resample
from semicml_tf.inference import slices, volume
from semicml_tf.preprocessing.normalisation import Normalisation
from tests.support import threshold_model

WINDOW = 16
PATCH = Patch(WINDOW)
RAMP = np.linspace(0, 1, WINDOW, dtype=np.float32)


@pytest.mark.parametrize("shape", [(5, 16, 16), (5, 9, 11), (4, 40, 12), (3, 37, 50)])
@pytest.mark.parametrize("batch_size", [1, 4, 7, 1000])
def test_batches_give_the_same_bits_as_the_whole(shape, batch_size):
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)

    def predict(batch):
        assert 1 <= len(batch) <= batch_size and batch.dtype == np.float32
        return batch * RAMP[:, None, None] + RAMP[:, None]  # depends on the place in the window

    tiles = tiling.cut(values, WINDOW)
    assert len(tiles) == len(values) * tiling.per_slice(shape, WINDOW)
    expected = tiling.join(tiles * RAMP[:, None] + RAMP, shape, WINDOW)
    np.testing.assert_array_equal(slices.probabilities(values, PATCH, predict, batch_size=batch_size), expected)
    half = values.astype(np.float16)
    found = slices.probabilities(half, PATCH, predict, batch_size=batch_size)
    np.testing.assert_array_equal(
        found, slices.probabilities(half.astype(np.float32), PATCH, predict, batch_size=batch_size)
    )


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("batch_size", [1, 3, 1000])
def test_neighbours_are_channels_in_their_order_and_mirrored_at_the_ends(count, batch_size):
    values = np.random.default_rng(0).normal(size=(count, 9, 20)).astype(np.float16)
    patch = Patch(WINDOW, 2)
    padded = np.pad(values, [(2, 2), (0, 0), (0, 0)], mode="symmetric").astype(np.float32)
    for channel in range(5):
        seen = slices.probabilities(values, patch, lambda x, c=channel: x[..., c : c + 1], batch_size=batch_size)
        np.testing.assert_allclose(seen, padded[channel : channel + count], atol=1e-6)
    assert sum(len(batch) for batch in slices.batches(values, patch, batch_size)) == slices.count(values.shape, patch)


@pytest.mark.parametrize("patch, counts", [(PATCH, (4, 6)), (Patch((2, 16, 16)), (2, 3))])
def test_more_overlap_makes_more_inputs(patch, counts):
    assert tuple(slices.count((2, 16, 28), patch, overlap) for overlap in (0.25, 0.5)) == counts
    assert slices.count((2, 16, 28), patch) == counts[len(patch.spatial) == 3]


@pytest.mark.parametrize("shape", [(WINDOW, WINDOW, 2), (WINDOW, WINDOW), (8, WINDOW, 1)])
def test_an_answer_of_another_shape_is_refused(shape):
    with pytest.raises(UserError, match=rf"shape \(batch, {WINDOW}, {WINDOW}, 1\) of the network, got \(2, "):
        slices.probabilities(np.zeros((2, 9, 9)), PATCH, lambda batch: np.zeros((len(batch), *shape)))


@pytest.mark.parametrize("normalisation", ["hu:-200:300", "percentile:0.5:99.5"])
def test_a_volume_in_parts_gives_the_same_bits_as_the_whole(normalisation):
    values, affine = threshold_model.volume("ct", (37, 30, 21)), threshold_model.oblique((1.0, 1.1, 1.5))
    how = Normalisation.parse(normalisation)
    manifest = dataclasses.replace(threshold_model.manifest("ct", spacing_mm=(3.0, 2.0, 2.0)), normalisation=how)
    own = Grid(values.shape, affine)
    # The whole way, a volume at each step.
    target = own.for_network(manifest.spacing_mm)
    constants = how.constants(values)
    clipped = np.clip(resample(values, own, target), constants.low, constants.high)
    normalised = (clipped - np.float32(constants.center)) / np.float32(constants.scale)
    tiles = tiling.cut(normalised.astype(np.float16).astype(np.float32), WINDOW)
    soft = tiling.join((1 / (1 + np.exp(-tiles))).astype(np.float32), target.shape, WINDOW)
    expected = resample(soft, target, own, axis_by_axis=True)
    expected[~reaches(target, own)] = 0.0

    found = volume.segment(values, affine, manifest, lambda batch: 1 / (1 + np.exp(-batch)), batch_size=5)
    np.testing.assert_array_equal(found, expected)
