"""A network published as a SavedModel: the same numbers, its own variables alone, whole or not at all."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from semicml_tf.artefact.manifest import Manifest
from semicml_tf.errors import UserError
from semicml_tf.exporting import publish as publishing
from semicml_tf.exporting.publish import publish
from semicml_tf.inference.exported_model import load
from semicml_tf.networks.spec import NetworkSpec
from tests.support import threshold_model
from tests.support.networks import unet

WINDOW = 32
MANIFEST = threshold_model.manifest("ct", window=WINDOW)


def varied(network, seed):
    """The network with random weights, running statistics included, so that none is like another's."""
    rng = np.random.default_rng(seed)
    network.set_weights([w + rng.normal(0, 0.02, w.shape).astype(np.float32) for w in network.get_weights()])
    return network


class Joint(keras.Model):
    """Two networks trained together, as the methods hold them."""

    def __init__(self):
        super().__init__()
        self.ct = varied(unet(WINDOW, 2, name="ct"), 1)
        self.pet = varied(unet(WINDOW, 2, name="pet"), 2)

    def call(self, inputs):
        return self.ct(inputs["ct"]), self.pet(inputs["pet"])


@pytest.fixture(scope="module")
def joint():
    model = Joint()
    model.compile(optimizer="adam")
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture(scope="module")
def published(joint, tmp_path_factory):
    return publish(joint.ct, MANIFEST, tmp_path_factory.mktemp("models") / "ct", settings={"recipe": "default"})


@pytest.fixture
def slices():
    return np.random.default_rng(5).uniform(-1, 1, (17, WINDOW, WINDOW, 1)).astype(np.float32)


def test_exported_equals_in_memory(joint, published, slices):
    expected = joint.ct(slices, training=False).numpy()
    found = load(published.folder).slices(slices)
    assert found.dtype == np.float32 and found.shape == slices.shape
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    assert published.max_difference <= 1e-6


def test_exported_follows_the_weights(joint, published, slices):
    assert np.abs(load(published.folder).slices(slices) - joint.pet(slices, training=False).numpy()).max() > 1e-3


def test_holds_the_variables_of_its_modality_alone(joint, published):
    stored = dict(tf.train.list_variables(str(published.folder / "variables" / "variables")))
    names = [name for name in stored if name.endswith("VARIABLE_VALUE")]
    assert len(names) == len(joint.ct.weights)
    assert sum(int(np.prod(stored[name])) for name in names) == joint.ct.count_params()
    assert all(name.startswith("weights/") for name in names)
    loaded = tf.saved_model.load(str(published.folder))
    assert len(loaded.signatures["probabilities"].variables) == len(joint.ct.weights)


def test_weights_of_the_other_modality_are_not_in_the_bytes(joint, published):
    content = b"".join(path.read_bytes() for path in published.folder.rglob("*") if path.is_file())
    large = [weight.tobytes() for weight in joint.ct.get_weights() if weight.size >= 4]
    assert all(weight in content for weight in large)
    assert not any(w.tobytes() in content for w in joint.pet.get_weights() if w.size >= 4)


def test_batch_axis_is_free_and_slices_do_not_see_each_other(published, slices):
    model = load(published.folder)
    one_by_one = np.concatenate([model.slices(slices[i : i + 1]) for i in range(17)])
    for count in (1, 3, 17):
        np.testing.assert_allclose(model.slices(slices[:count]), one_by_one[:count], rtol=0, atol=1e-6)


def test_signature_names_types_and_shapes(published):
    signature = tf.saved_model.load(str(published.folder)).signatures["probabilities"]
    expected = tf.TensorSpec((None, WINDOW, WINDOW, 1), tf.float32, name="slices")
    assert signature.structured_input_signature[1] == {"slices": expected}
    output = signature.structured_outputs["probabilities"]
    assert list(signature.structured_outputs) == ["probabilities"]
    assert output.dtype == tf.float32 and output.shape.as_list() == [None, WINDOW, WINDOW, 1]


def test_manifest_and_card_travel_with_it(published):
    expected = dataclasses.replace(MANIFEST, window_multiple=16, network=NetworkSpec("unet", WINDOW, 2, 5))
    assert Manifest.load(published.folder) == expected
    body = json.loads((published.folder / "assets.extra" / "manifest.json").read_text())
    assert body["signatures"]["serving_default"] == {
        "inputs": {"slices": {"dtype": "float32", "shape": [None, WINDOW, WINDOW, 1]}},
        "outputs": {"labels": {"dtype": "uint8", "shape": [None, WINDOW, WINDOW, 1]}},
    }
    card = (published.folder / "assets.extra" / "MODEL_CARD.md").read_text()
    for fact in (
        "`ct`",
        "data-ct",
        "run-ct",
        "0.7500",
        "hu:-200:300",
        "Not for clinical use",
        "| recipe | `default` |",
    ):
        assert fact in card, fact


def test_versions_count_up_and_leave_nothing_else(tmp_path):
    network = threshold_model.network("ct")
    manifest = threshold_model.manifest("ct")
    folder = tmp_path / "ct"
    assert publish(network, manifest, folder).folder == folder / "1"
    first = (folder / "1" / "saved_model.pb").stat()
    assert publish(network, manifest, folder).version == 2
    (folder / "9").mkdir()
    (folder / "notes").mkdir()
    assert publish(network, manifest, folder).version == 10
    assert sorted(entry.name for entry in folder.iterdir()) == ["1", "10", "2", "9", "notes"]
    assert (folder / "1" / "saved_model.pb").stat().st_ino == first.st_ino


def test_exporters_at_once_take_two_numbers(tmp_path, monkeypatch):
    network, manifest = threshold_model.network("ct"), threshold_model.manifest("ct")
    publish(network, manifest, tmp_path / "ct")
    kept = (tmp_path / "ct" / "1" / "saved_model.pb").stat().st_ino
    looks = iter([{}, {}, {1: tmp_path / "ct" / "1"}])
    # The first two looks at the folder come before the other exporter's rename.
    monkeypatch.setattr(publishing, "versions", lambda folder: next(looks))
    assert publish(network, manifest, tmp_path / "ct").version == 2
    assert (tmp_path / "ct" / "1" / "saved_model.pb").stat().st_ino == kept


def _no_space(module, folder, **_):
    tf.io.gfile.makedirs(folder)
    tf.io.write_file(f"{folder}/variables.part", b"half")
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    "where, name, broken, message",
    [
        (tf.saved_model, "save", _no_space, "No space left"),
        (publishing, "max_difference", lambda *_: 0.1, "differs from the one in memory by 0.1"),
        (publishing, "max_difference", lambda *_: float("nan"), "differs from the one in memory by nan"),
    ],
)
def test_a_failed_export_leaves_nothing(tmp_path, monkeypatch, where, name, broken, message):
    network, manifest = threshold_model.network("ct"), threshold_model.manifest("ct")
    monkeypatch.setattr(where, name, broken)
    with pytest.raises(UserError, match=message):
        publish(network, manifest, tmp_path / "ct")
    assert list((tmp_path / "ct").iterdir()) == []


def test_unwritable_output_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write here"):
        publish(threshold_model.network("ct"), threshold_model.manifest("ct"), tmp_path / "file" / "ct")


def version(model, number, complete=True):
    (model / str(number)).mkdir()
    if complete:
        (model / str(number) / "saved_model.pb").write_bytes(b"")


def left(model):
    return sorted(entry.name for entry in model.iterdir())


def test_only_the_oldest_complete_versions_are_removed(tmp_path):
    for number in (1, 2, 9, 10, 11):
        version(tmp_path, number)
    version(tmp_path, 3, complete=False)
    for name in ("notes", ".staged-x", "9" * 19):
        (tmp_path / name).mkdir()
    assert publishing.remove_old(tmp_path, 11, 9) == ()
    assert publishing.remove_old(tmp_path, 11, 2) == (1, 2)
    assert left(tmp_path) == [".staged-x", "10", "11", "3", "9", "9" * 19, "notes"]
    # A version above `newest` belongs to another export.
    version(tmp_path, 12)
    assert publishing.remove_old(tmp_path, 11, 1) == (9,)
    assert left(tmp_path) == [".staged-x", "10", "11", "12", "3", "9" * 19, "notes"]


def test_at_least_one_old_version_is_kept(tmp_path):
    version(tmp_path, 1)
    with pytest.raises(ValueError, match="at least 1"):
        publishing.remove_old(tmp_path, 2, 0)


def test_an_old_version_disappears_as_a_whole_and_a_failure_keeps_newer_versions(tmp_path, monkeypatch):
    for number in (1, 2, 3):
        version(tmp_path, number)
    seen = []

    def failing(folder):
        # At this point, a server must not see half a version.
        seen.append(left(tmp_path))
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(publishing.shutil, "rmtree", failing)
    with pytest.raises(UserError, match="cannot write here"):
        publishing.remove_old(tmp_path, 3, 1)
    assert [name for name in seen[0] if not name.startswith(".")] == ["2", "3"]
    assert left(tmp_path) == seen[0]
