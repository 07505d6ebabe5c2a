"""Parts of the Ray application that need no Ray: batching, the model of a request, settings."""

import asyncio
import subprocess
import sys
import types

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from semicml_tf.errors import UserError
from semicml_tf.serving.ray.router import Router, is_of_this_machine, named_model
from semicml_tf.serving.ray.settings import RaySettings
from semicml_tf.serving.server import batching
from semicml_tf.serving.server.batching import Call
from semicml_tf.serving.server.served_model import ServedModel
from tests.support.serving_process import ROOT, request


class Twice(tf.Module):
    """`twice` doubles its slices and refuses negative ones; `total` sums over the batch; `fixed` takes two slices."""

    @tf.function(input_signature=[tf.TensorSpec((None, 3)), tf.TensorSpec((None,), tf.string)])
    def twice(self, values, names):
        with tf.control_dependencies([tf.debugging.assert_non_negative(values)]):
            return {"values": values * 2, "names": tf.strings.upper(names)}

    @tf.function(input_signature=[tf.TensorSpec((None, 3))])
    def total(self, values):
        return {"total": tf.reduce_sum(values)}

    @tf.function(input_signature=[tf.TensorSpec((2, 3))])
    def fixed(self, values):
        return {"values": values + 1}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder, module = tmp_path_factory.mktemp("twice"), Twice()
    signatures = {name: getattr(module, name) for name in ("twice", "total", "fixed")}
    tf.saved_model.save(module, str(folder), signatures=signatures)
    return ServedModel.open("twice", 1, folder)


@pytest.fixture
def counted(model, monkeypatch):
    """The model, and the sizes of the calls that it gets."""
    sizes, original = [], ServedModel.call

    def call(self, signature, inputs):
        sizes.append((signature, len(inputs["values"])))
        return original(self, signature, inputs)

    monkeypatch.setattr(ServedModel, "call", call)
    return model, sizes


def twice(model, size, first=0.0):
    values = np.arange(first, first + 3 * size, dtype=np.float32).reshape(size, 3)
    return Call(model, "twice", {"values": values, "names": np.array([b"a"] * size, object)})


def test_calls_are_batched_and_split_again(counted):
    model, sizes = counted
    calls = [twice(model, size, first) for size, first in ((1, 0), (4, 100), (2, 7))]
    answers = batching.answer(calls)
    assert sizes == [("twice", 7)]
    for call, outputs in zip(calls, answers):
        np.testing.assert_array_equal(outputs["values"], 2 * call.inputs["values"])
        assert outputs["names"].tolist() == [b"A"] * call.slices()


def test_only_calls_of_one_kind_are_batched(counted):
    model, sizes = counted
    values = np.ones((2, 3), np.float32)
    other = [Call(model, signature, {"values": values}) for signature in ("total", "total", "fixed", "fixed")]
    empty = twice(model, 0)
    assert [call.slices() for call in other] == [None] * 4 and empty.slices() is None
    answers = batching.answer([twice(model, 1), other[0], empty, twice(model, 2), *other[1:]])
    assert sorted(sizes) == [("fixed", 2)] * 2 + [("total", 2)] * 2 + [("twice", 0), ("twice", 3)]
    assert answers[1]["total"] == answers[4]["total"] == 6 and answers[2]["values"].shape == (0, 3)
    assert [len(answers[index]["values"]) for index in (0, 3)] == [1, 2]


def test_a_failing_call_does_not_affect_its_batch(counted):
    model, sizes = counted
    good, bad = twice(model, 2), twice(model, 1, -9)
    first, second, third = batching.answer([good, bad, good])
    assert isinstance(second, tf.errors.InvalidArgumentError)
    for outputs in (first, third):
        np.testing.assert_array_equal(outputs["values"], 2 * good.inputs["values"])
    assert sizes == [("twice", 5), ("twice", 2), ("twice", 1), ("twice", 2)]


def test_the_model_name_is_read_from_any_request():
    metadata = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    status = get_model_status_pb2.GetModelStatusRequest()
    for message in (metadata, status, request(name="", version=3)):
        assert named_model(message.SerializeToString()) == ""
        message.model_spec.name = "fusion-ü"
        assert named_model(message.SerializeToString()) == "fusion-ü"
    for data in (b"\xff\xff\xff\xff", request().SerializeToString()[:-5]):
        with pytest.raises(ValueError, match="protocol buffer"):
            named_model(data)


@pytest.mark.parametrize(
    "peer, here",
    [
        ("ipv4:127.0.0.1:50412", True),
        ("ipv6:[::1]:50412", True),
        ("ipv6:%5B::1%5D:50412", True),
        ("ipv6:[::ffff:127.0.0.1]:50412", True),
        ("unix:/tmp/socket", True),
        ("ipv4:192.0.2.2:50412", False),
        ("ipv6:[fd00::2]:50412", False),
        ("ipv6:%5B::ffff:192.0.2.2%5D:50412", False),
        ("unknown", False),
        ("", False),
    ],
)
def test_local_callers_are_recognised(peer, here):
    assert is_of_this_machine(peer) is here


def test_remote_callers_are_refused_by_default():
    class Context:
        code = None

        def __init__(self, peer):
            self.peer = lambda: peer

        def set_code(self, code):
            self.code = code.name

        def set_details(self, details):
            pass

    def codes(router, peer):
        for method in (router.Predict, router.GetModelMetadata, router.GetModelStatus, router.Check):
            context = Context(peer)
            try:
                asyncio.run(method(request().SerializeToString(), context))
            except RuntimeError:
                pass
            yield context.code

    there, here = "ipv4:192.0.2.2:50412", "ipv4:127.0.0.1:50412"
    assert set(codes(Router({}, False), there)) == {"PERMISSION_DENIED"}
    # It has no model, and a PredictRequest is no HealthCheckRequest of a service that is here.
    for router, peer in ((Router({}, False), here), (Router({}, True), there)):
        assert "PERMISSION_DENIED" not in set(codes(router, peer))


def test_settings_are_read_from_strings_and_checked(tmp_path):
    read = RaySettings.of({"models": "m", "replicas": "3", "cpus": "0.5", "any_host": "true", "gpus": 1})
    assert (read.replicas, read.cpus, read.any_host, read.gpus) == (3, 0.5, True, 1.0)
    for args, message in (
        ({"replica": 2}, "unknown settings.*'replica'"),
        ({"replicas": "two"}, "replicas: expected int, got 'two'"),
        ({"any_host": "maybe"}, "any_host: expected bool"),
        ({"replicas": 0}, "expected --replicas to be a whole number of at least 1, got '0'"),
        ({"gpus": -1.0}, "expected --gpus to be a number of at least 0"),
        ({"replicas": 3, "max_replicas": 2}, "--max_replicas of at least --replicas=3"),
    ):
        with pytest.raises(UserError, match=message):
            RaySettings.of(args)
    with pytest.raises(UserError, match="found none"):
        RaySettings(models=str(tmp_path)).configs()


def test_router_and_proxies_do_not_import_tensorflow():
    lines = "import sys; from semicml_tf.serving.ray import router, services; router.named_model(b'')"
    done = subprocess.run(
        [sys.executable, "-c", f"{lines}; print('tensorflow' in sys.modules)"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout == "False\n", done.stderr


def test_the_config_file_names_existing_classes():
    yaml = pytest.importorskip("yaml")
    from semicml_tf.serving.ray import application as deployed
    from semicml_tf.serving.ray import services

    config = yaml.safe_load((ROOT / "serving" / "ray.yaml").read_text())
    assert config["grpc_options"]["grpc_servicer_functions"] == list(services.FUNCTIONS)
    (application,) = config["applications"]
    assert application["name"] == deployed.APPLICATION and callable(deployed.build)
    assert application["import_path"] == f"{deployed.build.__module__}:{deployed.build.__name__}"
    assert RaySettings.of(application["args"]).replicas == 2


def test_without_ray_the_command_names_the_package_to_install(monkeypatch):
    from semicml_tf.serving.ray import application

    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(application.os, "environ", {})
    with pytest.raises(UserError, match=r"not installed.*\[ray\]"):
        application._import_ray()


def test_services_exchange_raw_bytes():
    from semicml_tf.serving.ray import services

    added = []
    server = types.SimpleNamespace(add_generic_rpc_handlers=added.extend)
    for function in services.FUNCTIONS:
        getattr(services, function.rpartition(".")[2])(None, server)
    methods = {name: one for handler in added for name, one in handler._method_handlers.items()}
    assert set(methods) == {
        "/tensorflow.serving.PredictionService/Predict",
        "/tensorflow.serving.PredictionService/GetModelMetadata",
        "/tensorflow.serving.ModelService/GetModelStatus",
        "/grpc.health.v1.Health/Check",
    }
    assert all(one.request_deserializer is None for one in methods.values())
