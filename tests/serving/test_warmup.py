"""Warm-up requests of a published model: for all signatures, with the shapes that clients send."""

import dataclasses

import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from semicml_tf.artefact.manifest import Manifest
from semicml_tf.exporting import warmup_requests
from semicml_tf.exporting.publish import publish
from semicml_tf.inference.slices import BATCH_SIZE
from semicml_tf.preprocessing.normalisation import Normalisation
from semicml_tf.serving.server import handlers
from semicml_tf.serving.server.model_config import ModelConfig
from semicml_tf.serving.server.model_store import ModelStore
from semicml_tf.serving.server.served_model import ServedModel
from semicml_tf.serving.server.version_watch import VersionWatch, replay_warmup
from tests.support import threshold_model


def requests(folder):
    """The requests beside a model, read as TensorFlow Serving reads them."""
    records = tf.data.TFRecordDataset(str(folder / "assets.extra" / "tf_serving_warmup_requests"))
    return [prediction_log_pb2.PredictionLog.FromString(one.numpy()).predict_log.request for one in records]


@pytest.mark.parametrize("modality", ["ct", "mr"])
def test_one_request_for_each_signature_and_batch_size(tmp_path, modality):
    manifest = dataclasses.replace(threshold_model.manifest(modality, window=48), monte_carlo=True)
    warmup_requests.write(tmp_path, manifest, (16, 1))
    found = requests(tmp_path)
    assert [(one.model_spec.name, one.model_spec.signature_name) for one in found] == [
        (modality, signature) for _ in (1, 16) for signature in manifest.signatures
    ]
    for index, one in enumerate(found):
        size = 1 if index < len(manifest.signatures) else 16
        declared = manifest.signatures[one.model_spec.signature_name]["inputs"]
        assert set(one.inputs) == set(declared)
        for name, tensor in one.inputs.items():
            values = tf.make_ndarray(tensor)
            # The native reader, which TensorFlow Serving has, fills in the same.
            native = tf.io.parse_tensor(tensor.SerializeToString(), tf.dtypes.as_dtype(tensor.dtype))
            assert (native.numpy() == values).all()
            assert list(values.shape) == [size, *declared[name]["shape"][1:]]
            assert tf.dtypes.as_dtype(tensor.dtype).name == declared[name]["dtype"]
    # A whole batch of slices each would be a megabyte.
    assert (tmp_path / warmup_requests.RELATIVE_PATH).stat().st_size < 40_000


@pytest.mark.parametrize("modality", ["ct", "mr"])
def test_the_embedded_server_answers_warm_up_requests_before_it_announces_the_model(
    tmp_path, monkeypatch, caplog, modality
):
    manifest = dataclasses.replace(
        threshold_model.manifest("ct"),
        modality=modality,
        normalisation=Normalisation.parse({"ct": "hu:-200:300", "mr": "percentile:0.5:99.5"}[modality]),
    )
    folder = publish(threshold_model.network("ct"), manifest, tmp_path / modality).folder
    assert Manifest.load(folder).takes_constants == (modality == "mr")
    answered = []

    def watched(model, request):
        assert not store.names().get(modality)
        response = original(model, request)
        size = next(iter(request.inputs.values())).tensor_shape.dim[0].size
        assert all(one.tensor_shape.dim[0].size == size for one in response.outputs.values())
        answered.append((request.model_spec.signature_name, size))
        return response

    original = handlers.predict_with
    monkeypatch.setattr(handlers, "predict_with", watched)
    store = ModelStore()
    with caplog.at_level("INFO"):
        VersionWatch(store, lambda: [ModelConfig(modality, tmp_path / modality)]).look()
    assert answered == [(name, size) for size in (1, BATCH_SIZE) for name in manifest.signatures]
    assert store.get(modality).version == 1
    assert f"after {len(answered)} warm-up requests" in caplog.text


def test_the_requests_in_the_folder_are_replayed(tmp_path, models):
    model = ServedModel.open("ct", 1, models / "ct" / "1")
    assert replay_warmup(model, models / "ct" / "1") == len(requests(models / "ct" / "1")) == 10
    assert replay_warmup(model, tmp_path) == 0
