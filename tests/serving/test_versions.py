"""The served versions follow the models' folders. Broken versions are never served."""

import dataclasses
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from semicml_tf.errors import UserError
from semicml_tf.exporting import warmup_requests
from semicml_tf.exporting.publish import publish
from semicml_tf.serving.server import handlers, model_config, version_watch
from semicml_tf.serving.server.model_config import ModelConfig
from semicml_tf.serving.server.model_store import ModelStore, NotServed, State, UnknownLabel
from semicml_tf.serving.server.served_model import ServedModel
from semicml_tf.serving.server.version_watch import VersionWatch
from tests.support import threshold_model
from tests.support.serving_process import request

WINDOW = 16
SLICE = np.zeros((1, WINDOW, WINDOW, 1), np.float32)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A version without warm-up requests; those of a published model are test_serving_warmup's."""
    network, folder = threshold_model.network("ct", window=WINDOW), tmp_path_factory.mktemp("a")
    return publish(network, threshold_model.manifest("ct"), folder, warm_up=()).folder


@pytest.fixture(scope="module")
def loaded(published):
    return ServedModel.open("ct", 1, published)


def network_files(folder: pathlib.Path) -> dict[str, bytes]:
    files = [folder / "saved_model.pb", *sorted((folder / "variables").glob("*"))]
    return {path.name: path.read_bytes() for path in files if path.is_file()}


@pytest.fixture(autouse=True)
def sound_copies_are_loaded_once(published, loaded, monkeypatch):
    """Damaged ones are opened as ever."""
    original = ServedModel.open

    def open_(name, number, folder):
        if network_files(folder) == network_files(published):
            return dataclasses.replace(loaded, name=name, version=number)
        return original(name, number, folder)

    monkeypatch.setattr(ServedModel, "open", open_)


@pytest.fixture
def models(tmp_path, published):
    shutil.copytree(published, tmp_path / "ct" / "1")
    return tmp_path


def copy(published, folder: pathlib.Path) -> None:
    """As a careful copier does it: under another name first."""
    shutil.copytree(published, folder.with_name(".copying"))
    folder.with_name(".copying").rename(folder)


def watched(models, **settings):
    store = ModelStore()
    watch = VersionWatch(store, lambda: [ModelConfig("ct", models / "ct", **settings)])
    watch.look()
    return store, watch


def warm_up(folder: pathlib.Path, *messages) -> None:
    path = folder / warmup_requests.RELATIVE_PATH
    with tf.io.TFRecordWriter(str(path)) as writer:
        for message in messages:
            log = prediction_log_pb2.PredictionLog()
            log.predict_log.request.CopyFrom(message)
            writer.write(log.SerializeToString())


def test_a_new_version_replaces_the_previous_version(models, published):
    store, watch = watched(models)
    former = store.get("ct")
    assert former.version == 1
    copy(published, models / "ct" / "2")
    watch.look()
    assert store.names() == {"ct": [2]} and store.get("ct").version == 2
    assert {number: one.state for number, one in store.versions("ct").items()} == {1: State.END, 2: State.AVAILABLE}
    with pytest.raises(NotServed, match=r"Specific\(ct, 1\)"):
        store.get("ct", 1)
    # A call that holds the former ends as it began.
    assert handlers.predict_with(former, request(SLICE)).model_spec.version.value == 1


def test_a_removed_version_is_replaced_by_the_previous_one(models, published):
    copy(published, models / "ct" / "2")
    store, watch = watched(models)
    assert store.names() == {"ct": [2]}
    shutil.rmtree(models / "ct" / "2")
    watch.look()
    assert store.names() == {"ct": [1]}


def test_the_last_version_stays_served_when_its_folder_is_emptied(models, caplog):
    store, watch = watched(models)
    shutil.rmtree(models / "ct" / "1")
    watch.look()
    watch.look()
    assert store.get("ct").version == 1
    assert caplog.text.count("served on") == 1
    shutil.rmtree(models / "ct")
    watch.look()
    assert store.get("ct").version == 1


def _half_copied(folder):
    (folder / "saved_model.pb").unlink()


def _torn(folder):
    (folder / "saved_model.pb").write_bytes(b"torn")


def _no_variables(folder):
    shutil.rmtree(folder / "variables")


def _cut_short(folder):
    path = folder / "variables" / "variables.data-00000-of-00001"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _not_what_was_written(folder):
    path = folder / "variables" / "variables.data-00000-of-00001"
    path.write_bytes(bytes(path.stat().st_size))


def _cold(folder):
    warm_up(folder, request(SLICE), request(SLICE[:, :3]))


def _not_a_log(folder):
    with tf.io.TFRecordWriter(str(folder / warmup_requests.RELATIVE_PATH)) as writer:
        writer.write(b"\xff")


@pytest.mark.parametrize(
    "spoil", [_half_copied, _torn, _no_variables, _cut_short, _not_what_was_written, _cold, _not_a_log]
)
def test_a_broken_version_is_never_served(models, published, spoil):
    shutil.copytree(published, models / "ct" / "3")
    spoil(models / "ct" / "3")
    # From the start on, and while another is served: the next best answers.
    store, watch = watched(models)
    assert store.names() == {"ct": [1]}
    copy(published, models / "ct" / "2")
    watch.look()
    assert store.names() == {"ct": [2]}
    shutil.rmtree(models / "ct" / "3")
    copy(published, models / "ct" / "3")
    watch.look()
    assert store.names() == {"ct": [3]}, "mended, it is served"


def test_a_failed_version_is_reported_and_not_opened_again(models, published, caplog):
    shutil.copytree(published, models / "ct" / "2")
    _torn(models / "ct" / "2")
    store, watch = watched(models)
    for _ in range(3):
        watch.look()
    assert caplog.text.count("damaged") == 1
    known = store.versions("ct")[2]
    assert known.state is State.END and known.error == version_watch.NOT_LOADED


def test_a_failed_version_is_retried_a_few_times(models, published, monkeypatch):
    now, tries = [0.0], []
    monkeypatch.setattr(version_watch.time, "monotonic", lambda: now[0])

    def fail(name, number, folder):
        tries.append(now[0])
        raise UserError("out of memory")

    original = ServedModel.open
    monkeypatch.setattr(ServedModel, "open", fail)
    store, watch = watched(models)
    for second in range(0, 900, 20):
        now[0] = float(second)
        watch.look()
    assert tries == [0.0, 60.0, 120.0, 180.0, 240.0, 300.0]
    # What passes by: the third attempt finds memory again.
    store, watch = watched(models)
    monkeypatch.setattr(ServedModel, "open", original)
    watch.look()
    assert not store.names()
    now[0] += version_watch.RETRY_S
    watch.look()
    assert store.names() == {"ct": [1]}


def test_an_unreadable_folder_does_not_affect_other_models(models, monkeypatch, caplog):
    (models / "lost+found").mkdir()
    look = version_watch.versions

    def versions(folder):
        if pathlib.Path(folder).name == "lost+found":
            raise PermissionError(13, "Permission denied")
        return look(folder)

    # A test may run as root, who is denied nothing.
    monkeypatch.setattr(version_watch, "versions", versions)
    monkeypatch.setattr(model_config, "versions", versions)
    store = ModelStore()
    watch = VersionWatch(store, lambda: model_config.of_folder(models))
    watch.look()
    watch.look()
    assert store.names() == {"ct": [1]}
    assert caplog.text.count("lost+found: cannot be read (Permission denied)") == 1


def test_a_missing_model_is_reported(models, caplog):
    caplog.set_level("WARNING")
    store = ModelStore()
    VersionWatch(store, lambda: [ModelConfig("pet", models / "pet"), ModelConfig("ct", models / "ct")]).look()
    assert store.names() == {"ct": [1]} and "model 'pet' is not served" in caplog.text


def test_warm_up_requests_are_answered_before_the_model_is_announced(models, published, monkeypatch):
    warm_up(models / "ct" / "1", *[request(np.repeat(SLICE, size, 0)) for size in (1, 16)])
    seen = []

    def watch_over(model, message):
        with pytest.raises(NotServed):
            store.get("ct")
        seen.append(message.inputs["slices"].tensor_shape.dim[0].size)
        return original(model, message)

    original = handlers.predict_with
    monkeypatch.setattr(handlers, "predict_with", watch_over)
    store = ModelStore()
    VersionWatch(store, lambda: [ModelConfig("ct", models / "ct")]).look()
    assert seen == [1, 16] and store.get("ct").version == 1


@pytest.mark.parametrize(
    "settings, served",
    [
        ({}, [4]),
        ({"latest": 2}, [3, 4]),
        ({"latest": 0}, [1, 3, 4]),
        ({"latest": None, "specific": (1, 3, 9)}, [1, 3]),
    ],
)
def test_the_policy_selects_the_served_versions(models, published, settings, served):
    for number in (3, 4):
        copy(published, models / "ct" / str(number))
    store, _ = watched(models, labels={"stable": 3, "gone": 2}, **settings)
    assert store.names() == {"ct": served}
    assert store.get("ct").version == served[-1]
    if 3 in served:
        assert store.get("ct", label="stable").version == 3
    with pytest.raises(NotServed, match=r"Specific\(ct, 2\)"):
        store.get("ct", label="gone")
    with pytest.raises(UnknownLabel, match="canary"):
        store.get("ct", label="canary")


CONFIG = """
model_config_list {
  config { name: "ct" base_path: "/models/ct" model_platform: "tensorflow" }
  config {
    name: "pet" base_path: "/elsewhere/pet"
    model_version_policy { specific { versions: 2 versions: 5 } }
    version_labels { key: "stable" value: 2 }
  }
  config { name: "mr" base_path: "/models/deep/mr" model_version_policy { latest { num_versions: 3 } } }
  config { name: "us" base_path: "/models/us" model_version_policy { all {} } }
}
"""


def test_a_models_config_of_tensorflow_serving(tmp_path):
    (tmp_path / "models.config").write_text(CONFIG)
    ct, pet, mr, us = model_config.of_file(tmp_path / "models.config", tmp_path)
    assert (ct.base_path, ct.latest, ct.wanted([1, 2, 10])) == (tmp_path / "ct", 1, [10])
    assert (pet.base_path, pet.labels) == (pathlib.Path("/elsewhere/pet"), {"stable": 2})
    assert pet.wanted([1, 2, 3, 5]) == [5, 2]
    assert (mr.base_path, mr.wanted([1, 2, 3, 4])) == (tmp_path / "deep" / "mr", [4, 3, 2])
    assert us.wanted([1, 2]) == [2, 1]


@pytest.mark.parametrize(
    "text, message",
    [
        ("model_config_list { config { nam: 'ct' } }", "ModelServerConfig in text form"),
        ("", "models of different names, got none"),
        ("model_config_list { config { name: 'ct' base_path: 'models/ct' } }", "absolute base_path.*'models/ct'"),
        ("model_config_list { config { base_path: '/models/ct' } }", "expected a name"),
        (
            "model_config_list { config { name: 'ct' base_path: '/m' model_platform: 'pytorch' } }",
            "'tensorflow', got 'pytorch'",
        ),
        (
            "model_config_list { config { name: 'a' base_path: '/a' } config { name: 'a' base_path: '/b' } }",
            "different names",
        ),
    ],
)
def test_an_invalid_models_config_is_reported_in_one_line(tmp_path, text, message):
    (tmp_path / "models.config").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        model_config.of_file(tmp_path / "models.config", tmp_path)
    assert "\n" not in caught.value.line and "models.config" in caught.value.line
