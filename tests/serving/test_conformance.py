"""The conformance suite passes the embedded server, and detects the errors of a wrong server."""

import concurrent.futures

import grpc
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from semicml_tf.exporting import slice_example
from semicml_tf.serving.conformance import checks, signatures, suite
from semicml_tf.serving.conformance.server import Server
from semicml_tf.serving.server import handlers
from semicml_tf.serving.server.model_store import ModelStore, State, Version
from semicml_tf.serving.server.served_model import ServedModel
from tests.support.fake_prediction_server import as_content
from tests.support.serving_process import UNLIMITED, WINDOW, request, require_conformance


def test_the_embedded_server_with_tensorflow_servings_own_configuration(unet_models, unet_server, tmp_path):
    require_conformance(unet_server, unet_models, tmp_path / "found.json")


class Poor(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers, but with values of another type, value by value, whatever the request says."""

    def __init__(self, store):
        self._store = store

    def GetModelMetadata(self, request, context):
        return handlers.metadata(self._store, request)

    def Predict(self, request, context):
        response = predict_pb2.PredictResponse()
        values = np.zeros((1, WINDOW, WINDOW, 1))
        response.outputs["probabilities"].CopyFrom(tf.make_tensor_proto(values))
        response.outputs["probabilities"].ClearField("tensor_content")
        response.outputs["probabilities"].double_val.extend(values.ravel())
        return response


class SendsContent(Poor):
    """Answers as TensorFlow Serving does that is told to send tensor_content: strings, too."""

    def Predict(self, request, context):
        try:
            response = handlers.predict(self._store, request)
        except handlers.Refused as refused:
            context.abort(grpc.StatusCode[refused.code], refused.details)
        for tensor in response.outputs.values():
            tensor.CopyFrom(as_content(tf.make_ndarray(tensor)))
        return response


@pytest.fixture(scope="module")
def served(unet_models):
    store = ModelStore()
    store.put("ct", 1, Version(State.AVAILABLE, ServedModel.open("ct", 1, unet_models / "ct" / "1")))
    return store


def _found(kind, store):
    """The suite's results by title, with a server of that kind in this process."""
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4), options=UNLIMITED)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(kind(store), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}", UNLIMITED) as channel:
            return {one["check"]: one for one in suite.check(Server(channel, "ct", 20.0))}
    finally:
        server.stop(None).wait()


def test_strings_in_tensor_content_are_read(served):
    found = _found(SendsContent, served)
    for check in (checks.predicts, checks.one_by_one, checks.content, *signatures.ANSWERED):
        assert found[check.__doc__]["result"] == "passed", found[check.__doc__]


def test_an_exception_in_a_check_fails_the_check(monkeypatch):
    def breaks():
        raise ValueError("no array")

    monkeypatch.setattr(checks, "all_checks", lambda server: [("breaks", breaks), ("goes on", lambda: "fine")])
    found = suite.check(None)
    assert [(one["result"], one["details"]) for one in found] == [
        ("failed", "ValueError: no array"),
        ("passed", "fine"),
    ]


def test_a_poor_server_fails(served):
    found = _found(Poor, served)
    failed = {title for title, one in found.items() if one["result"] == "failed"}
    wanted = {checks.status, checks.predicts, checks.one_by_one, checks.content, checks.names_what_answered, checks.big}
    wanted |= set(signatures.ANSWERED)
    assert {check.__doc__ for check in wanted} <= failed
    refusals = [title for title in found if title.startswith("Refuses")]
    # gRPC itself sees that a message is none.
    assert len(refusals) == 15 and len(failed & set(refusals)) == 13


EXAMPLE = slice_example.encode(np.zeros((WINDOW, WINDOW), np.float32))


@pytest.mark.parametrize(
    "spoilt, reason",
    [
        (b"", "Feature: slice .* is required but could not be found"),
        (b"\xff\xff", "bytes are not what the signature takes"),
        (EXAMPLE[:-7], "bytes are not what the signature takes|Could not parse example"),
        (EXAMPLE.replace(b"slice", b"slide"), "Feature: slice .* is required but could not be found"),
        (slice_example.encode(np.zeros((WINDOW, WINDOW - 1))), "Key: slice.* values"),
    ],
)
def test_a_damaged_example_is_an_invalid_argument(served, spoilt, reason):
    message = request(signature="serialized", inputs={"examples": np.array([EXAMPLE, spoilt], object)})
    with pytest.raises(handlers.Refused, match=reason) as caught:
        handlers.predict(served, message)
    assert caught.value.code == "INVALID_ARGUMENT"
    assert "\n" not in caught.value.details and len(caught.value.details) <= handlers.MOST_DETAILS
    message = request(signature="serialized", inputs={"examples": np.array([EXAMPLE], object)})
    assert set(handlers.predict(served, message).outputs) == {"labels", "probabilities"}


GOOD = request().SerializeToString()


@st.composite
def damaged(draw):
    """A good request with bytes changed, cut, repeated or put in."""
    data = bytearray(GOOD)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, 120))  # where names, types and shapes stand
        how = draw(st.sampled_from(("change", "cut", "insert")))
        if how == "change":
            data[at] = draw(st.integers(0, 255))
        elif how == "cut":
            del data[at : at + draw(st.integers(1, 8))]
        else:
            data[at:at] = draw(st.binary(min_size=1, max_size=8))
    return bytes(data)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(data=st.one_of(damaged(), st.binary(max_size=64)))
def test_any_request_is_answered_or_refused(served, data):
    from google.protobuf.message import DecodeError

    try:
        message = predict_pb2.PredictRequest.FromString(data)
    except DecodeError:
        return
    try:
        answer = handlers.predict(served, message)
    except handlers.Refused as refused:
        assert refused.code in ("INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION")
        assert "\n" not in refused.details
    else:
        assert tf.make_ndarray(answer.outputs["probabilities"]).shape[1:] == (WINDOW, WINDOW, 1)
