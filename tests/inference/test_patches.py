"""Patches cut, answered and joined batch by batch: a function of the voxels gives what it gives of the whole volume."""

import numpy as np
import pytest

from semicml_tf.errors import UserError
from semicml_tf.geometry.patch import Patch
from semicml_tf.inference import patches, slices
from semicml_tf.networks import catalogue as networks
from semicml_tf.networks.spec import NetworkSpec

PATCH = Patch((4, 8, 6))


def of_voxels(batch):
    return np.concatenate([1 / (1 + np.exp(-3 * batch)), batch**2 / 16], axis=-1)


@pytest.mark.parametrize("shape", [(4, 8, 6), (9, 20, 13), (1, 5, 30), (3, 8, 2)])
@pytest.mark.parametrize("batch_size", [1, 7])
def test_a_function_of_the_voxels_gives_what_it_gives_of_the_whole(shape, batch_size):
    values = np.random.default_rng(0).uniform(-2, 2, shape).astype(np.float16)
    batches = []

    def predict(batch):
        batches.append(len(batch))
        assert batch.shape[1:] == (4, 8, 6, 1) and batch.dtype == np.float32
        return of_voxels(batch)

    found = slices.probabilities(values, PATCH, predict, classes=2, batch_size=batch_size)
    expected = np.moveaxis(of_voxels(values.astype(np.float32)[..., None]), -1, 0)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert sum(batches) == slices.count(shape, PATCH) and max(batches) <= batch_size


def test_a_smooth_network_answers_alike_in_patches_and_whole():
    """Sums of neighbours: patches differ from the whole only next to their borders, where their weight is small."""
    values = np.random.default_rng(1).uniform(0, 1, (16, 20, 24)).astype(np.float32)

    def predict(batch):
        padded = np.pad(batch, [(0, 0), (1, 1), (1, 1), (1, 1), (0, 0)])
        return sum(padded[:, 1:-1, 1:-1, start : start + batch.shape[3]] for start in range(3)) / 3

    whole = slices.probabilities(values, Patch((16, 20, 24)), predict)
    np.testing.assert_allclose(whole, predict(values[None, ..., None])[0, ..., 0], atol=1e-6)
    tiled = slices.probabilities(values, Patch((8, 12, 12)), predict)
    assert np.abs(tiled - whole).max() < 0.02


@pytest.mark.parametrize("name, side, dimensions", [("unet", 16, 2), ("unet3d", (8, 16, 16), 3)])
def test_a_volume_that_fits_in_one_window_gives_what_the_network_gives_of_it(name, side, dimensions):
    network = networks.build(NetworkSpec(name, side, width=2, levels=2, dimensions=dimensions), name="ct", seed=0)
    values = np.random.default_rng(2).uniform(-1, 1, (8, 16, 16)).astype(np.float32)
    found = slices.probabilities(values, Patch(side), lambda batch: network(batch, training=False).numpy())
    given = values[..., None] if name == "unet" else values[None, ..., None]  # slices, or one volume
    whole = network(given, training=False).numpy().reshape(values.shape)
    assert np.ptp(whole) > 1e-3
    np.testing.assert_allclose(found, whole, atol=1e-5)


def test_large_patches_come_one_by_one_whatever_the_batch_size():
    assert [patches.limited(16, Patch(side)) for side in ((4, 8, 6), (32, 64, 64), (64, 128, 128), (64, 512, 512))] == [
        *(16, 8, 1, 1)
    ]


def test_an_answer_of_another_shape_is_refused():
    with pytest.raises(UserError, match=r"shape \(batch, 4, 8, 6, 1\) of the network, got \(1, 4, 8, 6, 2\)"):
        slices.probabilities(np.zeros((4, 8, 6)), PATCH, of_voxels)
