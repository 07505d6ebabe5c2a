"""Networks of neighbouring slices or patches answer over gRPC as in memory; the manifest alone says what they read."""

import dataclasses

import numpy as np
import pytest

from semicml_tf.exporting.publish import publish
from semicml_tf.inference.exported_model import load
from semicml_tf.inference.segmenter_wrappers import Flipped, MonteCarlo
from semicml_tf.inference.volume import network_input, own_grid
from semicml_tf.networks import catalogue
from semicml_tf.networks.spec import NetworkSpec
from semicml_tf.serving.client.remote_model import RemoteModel
from tests.support import threshold_model
from tests.support.serving_process import require_conformance, serving_here

SPEC = NetworkSpec("unet", 16, 2, levels=2, input_channels=3)
AFFINE = np.diag([2.0, 2.0, 4.0, 1.0])


@pytest.fixture(scope="module")
def network():
    network = catalogue.build(SPEC, name="ct")
    rng = np.random.default_rng(3)
    network.set_weights([w + rng.normal(0, 0.2, w.shape).astype(np.float32) for w in network.get_weights()])
    return network


@pytest.fixture(scope="module")
def models(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    manifest = dataclasses.replace(threshold_model.manifest("ct"), context_slices=1)
    publish(network, manifest, folder / "ct", warm_up=(1,), with_dropout=catalogue.with_dropout(network))
    return folder


@pytest.fixture(scope="module")
def address(models):
    with serving_here(models) as address:
        yield address


@pytest.mark.parametrize("count", [1, 5])
def test_over_grpc_as_in_memory(network, models, address, count):
    volume = threshold_model.volume("ct", (16, 16, count))
    grid, local = own_grid(volume, AFFINE), load(models / "ct")
    slices = network_input(volume, grid, local.manifest).images["ct"].astype(np.float32)
    padded = np.pad(slices, [(1, 1), (0, 0), (0, 0)], mode="symmetric")
    channels = np.stack([padded[:-2], padded[1:-1], padded[2:]], axis=-1)
    expected = np.asarray(network(channels, training=False))[..., 0]
    with RemoteModel(address, "ct", max_message_mib=0.02) as remote:
        # Three channels of a slice take more than its probabilities.
        assert remote.manifest == local.manifest and remote.slices_a_message == 5
        answer = remote.probabilities(volume, AFFINE, batch_size=2)
        np.testing.assert_allclose(own_slices(answer), expected, atol=1e-5)
        np.testing.assert_allclose(answer, local.probabilities(volume, AFFINE), atol=1e-5)
        near, far = (MonteCarlo(Flipped(model), 2, seed=1).probabilities(volume, AFFINE) for model in (local, remote))
        np.testing.assert_allclose(near, far, atol=1e-5)


def test_patches_over_grpc_as_in_memory(tmp_path):
    spec = NetworkSpec("unet3d", (2, 8, 8), 2, levels=2, dimensions=3, strides=((1, 2, 2),))
    network = catalogue.build(spec, name="ct")
    rng = np.random.default_rng(4)
    network.set_weights([w + rng.normal(0, 0.2, w.shape).astype(np.float32) for w in network.get_weights()])
    publish(
        network, dataclasses.replace(threshold_model.manifest("ct"), window=spec.window), tmp_path / "ct", warm_up=(1,)
    )
    local = load(tmp_path / "ct")
    with serving_here(tmp_path) as address, RemoteModel(address, "ct", max_message_mib=0.01) as remote:
        assert remote.manifest == local.manifest and remote.slices_a_message == 12
        # One patch is enough, and a patch that is mirrored; and several patches along each axis.
        for shape in ((8, 8, 2), (5, 8, 1), (9, 14, 5)):
            volume = threshold_model.volume("ct", shape)
            answer = remote.probabilities(volume, AFFINE, batch_size=5)
            np.testing.assert_allclose(answer, local.probabilities(volume, AFFINE), atol=1e-5)
            if shape == (8, 8, 2):
                read = network_input(volume, own_grid(volume, AFFINE), local.manifest).images["ct"].astype(np.float32)
                expected = np.asarray(network(read[np.newaxis, ..., np.newaxis], training=False))[0, ..., 0]
                np.testing.assert_allclose(own_slices(answer), expected, atol=1e-5)
        flipped = [Flipped(model).probabilities(volume, AFFINE) for model in (local, remote)]
        np.testing.assert_allclose(*flipped, atol=1e-5)


def own_slices(answer):
    """(slices, rows, columns), as the network sees them, of a map on the RAS+ grid of the volume."""
    return np.transpose(answer, (2, 1, 0))[:, ::-1, ::-1]


def test_conformance(models, address, tmp_path):
    require_conformance(address, models, tmp_path / "conformance.json")
