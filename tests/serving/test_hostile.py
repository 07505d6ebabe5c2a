"""Hostile messages to and from a server: a clear error or the right values, in bounded memory and time."""

import contextlib
import pathlib
import random
import resource
import struct

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

from semicml_tf.artefact.manifest import MAX_QUERIES
from semicml_tf.errors import UserError
from semicml_tf.exporting import slice_example
from semicml_tf.inference import slices
from semicml_tf.serving import bounds
from semicml_tf.serving.client.remote_failure import RemoteFailure
from semicml_tf.serving.client.remote_model import RemoteModel
from semicml_tf.serving.conformance import checks, suite
from semicml_tf.serving.conformance import server as conformance_server
from semicml_tf.serving.server import handlers, prediction_service
from semicml_tf.serving.server.model_store import ModelStore, State, Version
from semicml_tf.serving.server.served_model import ServedModel
from semicml_tf.serving.terminal_text import one_line
from tests.support import threshold_model
from tests.support.serving_process import request

WINDOW = 16
MIB = 2**20
LIMIT = 8 * MIB
SLICES = np.random.default_rng(0).uniform(-1, 1, (3, WINDOW, WINDOW, 1)).astype(np.float32)
MANIFEST = threshold_model.manifest("ct")


@contextlib.contextmanager
def memory_limit(more: int):
    """The process may take so many bytes of address space more than it has."""
    status = pathlib.Path("/proc/self/statm")
    if not status.exists():
        pytest.skip("no /proc to read the size of the process from")
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(status.read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture(scope="module")
def store(models):
    found = ModelStore()
    for name in ("ct", "pet"):
        found.put(name, 1, Version(State.AVAILABLE, ServedModel.open(name, 1, models / name / "1")))
        # The first call of a signature compiles it.
        for signature, inputs in inputs_of_all(3).items():
            handlers.predict(found, request(name=name, signature=signature, inputs=inputs))
    return found


def inputs_of_all(count: int) -> dict[str, dict[str, np.ndarray]]:
    """Inputs of each signature of a threshold model."""
    slices = np.resize(SLICES, (count, WINDOW, WINDOW, 1))
    return {
        "serving_default": {"slices": slices},
        "probabilities": {"slices": slices},
        "raw": {"slices": slices * 100},
        "serialized": {"examples": np.array([slice_example.encode(one) for one in slices], object)},
        "manifest": {"queries": np.zeros(count, np.int32)},
    }


def asked(store, message) -> predict_pb2.PredictResponse:
    """The answer of the server's own code to a message or to bytes, with the embedded server's limits."""
    data = message if isinstance(message, bytes) else message.SerializeToString()

    def answer(parsed):
        return handlers.predict(store, parsed, max_bytes=LIMIT)

    return predict_pb2.PredictResponse.FromString(
        prediction_service.respond(data, predict_pb2.PredictRequest, answer, LIMIT)
    )


def filled(dtype: str, *shape: int):
    """A tensor of a few bytes that claims a shape: one value stands for all."""
    tensor = tf.make_tensor_proto(np.zeros(1, dtype))  # which has one int_val or float_val
    tensor.tensor_shape.CopyFrom(tf.TensorShape(shape).as_proto())
    return tensor


def with_inputs(signature: str, **tensors):
    message = request(signature=signature)
    del message.inputs["slices"]
    for name, tensor in tensors.items():
        message.inputs[name].CopyFrom(tensor)
    return message


FULL, INVALID = "RESOURCE_EXHAUSTED", "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    "message, code",
    [
        (with_inputs("manifest", queries=filled("int32", 2**22)), FULL),
        (with_inputs("manifest", queries=filled("int32", 2**40)), INVALID),
        (with_inputs("manifest", queries=tf.make_tensor_proto(np.zeros(10**6, np.int32))), FULL),
        (with_inputs("manifest", queries=filled("int32", 200)), FULL),  # of this limit on answers
        (with_inputs("probabilities", slices=filled("float32", 2**14, WINDOW, WINDOW, 1)), FULL),
        (with_inputs("serving_default", slices=filled("float32", 2**13 + 1, WINDOW, WINDOW, 1)), FULL),
        # Its answer is larger than its question: a label and a probability for each number.
        (with_inputs("raw", slices=filled("float32", 7000, WINDOW, WINDOW, 1)), FULL),
        (with_inputs("serialized", examples=tf.make_tensor_proto([b""] * 60_000)), FULL),
        (with_inputs("serialized", examples=tf.make_tensor_proto([b""] * 70_000)), FULL),
        (b"\x12\x00" * 100_000, FULL),  # inputs without name and tensor
        (request().SerializeToString() + b"\x12\x06\x0a\x00\x12\x02\x12\x00" * 30_000, FULL),
        (with_inputs("probabilities", slices=filled("float32", *[1] * 70_000)), FULL),
        (with_inputs("probabilities", slices=filled("float32", *[1] * 30_000)), INVALID),
        (request(name="x" * 100_000), "NOT_FOUND"),
        (request(name="ct", signature="é\x1b" * 50_000), "FAILED_PRECONDITION"),
        (request(inputs={"\x1b[2J" * 10_000: SLICES}), INVALID),
    ],
)
def test_messages_with_huge_claims_are_refused_before_allocation(store, message, code):
    with memory_limit(1024 * MIB), pytest.raises(handlers.Refused) as caught:
        asked(store, message)
    assert caught.value.code == code, caught.value
    # Details travel in a header of 8 KiB, in which other characters take up to nine bytes.
    assert caught.value.details.isascii() and caught.value.details.isprintable()
    assert len(caught.value.details) <= handlers.MOST_DETAILS


def test_the_graph_itself_limits_its_output_on_any_server(models):
    model = ServedModel.open("ct", 1, models / "ct" / "1")
    told = model.call("manifest", {"queries": np.zeros(MAX_QUERIES, np.int32)})["manifest"]
    assert len(told) == MAX_QUERIES and len(set(told)) == 1 and len(told[0]) < bounds.TEXT_BYTES
    with pytest.raises(tf.errors.InvalidArgumentError, match="at most 256 queries"):
        model.call("manifest", {"queries": np.zeros(MAX_QUERIES + 1, np.int32)})


def test_inputs_of_several_batch_sizes_are_refused():
    # As `raw` of MR: one slice and many constants would be broadcast.
    declared = meta_graph_pb2.SignatureDef()
    for name in ("slices", "low"):
        declared.inputs[name].tensor_shape.dim.add(size=-1)
    assert bounds.rows(declared, {"slices": np.zeros(5), "low": np.zeros(5)}) == 5
    with pytest.raises(ValueError, match="expected inputs of one batch size"):
        bounds.rows(declared, {"slices": np.zeros(1), "low": np.zeros(5)})


def test_the_probabilities_of_many_classes_count_in_a_step(monkeypatch):
    monkeypatch.setattr(bounds, "STEP_ELEMENTS", 100 * 16)
    declared = meta_graph_pb2.SignatureDef()
    for size in (-1, 4, 4, 5):
        declared.outputs["probabilities"].tensor_shape.dim.add(size=size)
    assert bounds.channels(declared) == 5
    slices = {"slices": np.zeros((60, 4, 4, 1), np.float32)}
    assert [len(part["slices"]) for part in bounds.steps(slices, 60)] == [60]
    assert [len(part["slices"]) for part in bounds.steps(slices, 60, 5)] == [20, 20, 20]


def test_many_slices_are_computed_in_interruptible_steps(store, monkeypatch):
    slices = np.resize(SLICES, (50, WINDOW, WINDOW, 1))
    sizes = []
    original = ServedModel.call

    def call(model, signature, inputs):
        sizes.append(len(next(iter(inputs.values()))))
        return original(model, signature, inputs)

    whole = asked(store, request(slices)).outputs["probabilities"]
    monkeypatch.setattr(ServedModel, "call", call)
    monkeypatch.setattr(bounds, "STEP_ELEMENTS", 20 * WINDOW**2)
    np.testing.assert_array_equal(
        tf.make_ndarray(asked(store, request(slices)).outputs["probabilities"]), tf.make_ndarray(whole)
    )
    assert sizes == [20, 20, 10]

    class Context:
        def time_remaining(self):
            return 60.0

    caller = prediction_service._Caller(Context())

    def check():
        if len(sizes) == 4:
            caller.left.set()
        caller.check()

    with pytest.raises(handlers.Refused, match="CANCELLED"):
        handlers.predict(store, request(slices), check_wanted=check)
    assert len(sizes) == 4
    Context.time_remaining = lambda self: -1.0
    with pytest.raises(handlers.Refused, match="DEADLINE_EXCEEDED"):
        prediction_service._Caller(Context()).check()


def mutated(rng: random.Random, data: bytes) -> bytes:
    """Bytes of a message with a few of them changed, cut out, repeated, or replaced by what numbers are made of."""
    found = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 5])):
        # Most bytes are pixels: half of the changes are to the first and the last hundred.
        place = rng.randrange(len(found)) if rng.random() < 0.5 else rng.randrange(200) - 100
        place %= len(found) or 1
        how = rng.randrange(6)
        if how == 0:
            found[place : place + 1] = bytes([rng.randrange(256)])
        elif how == 1:
            del found[place : place + rng.choice([1, 2, 9, 300])]
        elif how == 2:
            found[place:place] = found[place : place + rng.choice([1, 8, 64])] * rng.choice([1, 2, 50])
        elif how == 3:
            found[place:place] = rng.choice(
                [b"\xff" * 9 + b"\x01", b"\x80\x80\x80\x80\x08", b"\x00", b"\x12\x02\x12\x00"]
            )
        elif how == 4:
            found[place : place + 4] = struct.pack("<f", rng.choice([np.nan, np.inf, 7.0, -1.0, 1e-30]))
        else:
            del found[place:]
        found = found or bytearray(b"\x00")
    return bytes(found)


def test_mutated_requests_get_a_clear_error_or_a_result_of_the_declared_shapes(store):
    rng, seen = random.Random(23), {}
    bases = [
        request(name=rng.choice(["ct", "pet"]), signature=signature, inputs=inputs).SerializeToString()
        for signature, inputs in inputs_of_all(3).items()
    ]
    with memory_limit(1024 * MIB):
        for number in range(400):
            try:
                response = asked(store, mutated(rng, bases[number % len(bases)]))
            except handlers.Refused as refused:
                seen[refused.code] = seen.get(refused.code, 0) + 1
                assert refused.code != "INTERNAL", refused
                continue
            seen["OK"] = seen.get("OK", 0) + 1
            found = {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}
            if "probabilities" in found:
                soft = found["probabilities"]
                assert soft.shape[1:] == (WINDOW, WINDOW, 1) and (np.isnan(soft) | ((soft >= 0) & (soft <= 1))).all()
            if "manifest" in found:
                assert set(found["manifest"]) <= {
                    store.get(name).call("manifest", {"queries": np.zeros(1, np.int32)})["manifest"][0]
                    for name in ("ct", "pet")
                }
    assert seen["OK"] > 40 and seen[INVALID] > 100, seen


def test_mutated_model_queries_get_a_clear_error_or_the_right_response(store):
    rng = random.Random(7)
    cases = (
        (get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"]), handlers.metadata),
        (get_model_status_pb2.GetModelStatusRequest(), handlers.status),
    )
    for message, answer in cases:
        message.model_spec.name = "ct"
        message.model_spec.version.value = 1
        data, kind = message.SerializeToString(), type(message)

        def respond(asked, kind=kind, answer=answer):
            return prediction_service.respond(asked, kind, lambda parsed: answer(store, parsed))

        right = {respond(data)}
        message.model_spec.name = "pet"
        right.add(respond(message.SerializeToString()))
        with memory_limit(1024 * MIB):
            for _ in range(200):
                with contextlib.suppress(handlers.Refused):
                    assert respond(mutated(rng, data)) in right


@pytest.fixture
def calls(monkeypatch):
    """A model whose server gives the bytes of the attribute `answer`."""
    model = RemoteModel("127.0.0.1:1", "ct", MANIFEST, max_message_mib=8)
    model.answer = b""
    monkeypatch.setattr(model._calls, "_predict", lambda data, timeout: model.answer)
    yield model
    model.close()


def answer_of(name: str, tensor) -> bytes:
    response = predict_pb2.PredictResponse()
    response.model_spec.name = "ct"
    response.model_spec.version.value = 1
    response.outputs[name].CopyFrom(tensor)
    return response.SerializeToString()


@pytest.mark.parametrize(
    "answer, message",
    [
        (answer_of("probabilities", filled("float32", 2**34, 16, 16, 1)), "expected shape .3, 16, 16, 1., got"),
        (answer_of("probabilities", filled("float32", 2**23, 1)), "expected shape"),
        (
            answer_of("probabilities", tf.make_tensor_proto(SLICES.astype(np.float64))),
            "expected dtype float16 or float",
        ),
        (answer_of("probabilities", tf.make_tensor_proto(SLICES[:2])), "expected shape"),
        (answer_of("prob\x1b[2J" * 1000, tf.make_tensor_proto(SLICES)), r"got outputs \['prob\\x1b\[2J"),
        (b"\x0a\x00" * 100_000, "fields of the message larger than max"),
        (b"\xff" * 100, "expected a PredictResponse"),
    ],
)
def test_unexpected_responses_are_reported_in_one_line(calls, answer, message):
    calls.answer = answer
    with memory_limit(1024 * MIB), pytest.raises(RemoteFailure, match=message) as caught:
        calls.slices(SLICES)
    assert caught.value.line.isprintable() and len(caught.value.line) < 700


def test_mutated_responses_give_a_clear_error_or_probabilities(calls):
    right = np.asarray(threshold_model.predict("ct")(SLICES))
    rng, read = random.Random(25), 0
    with memory_limit(1024 * MIB):
        for number in range(300):
            tensor = tf.make_tensor_proto(right if number % 2 else right.astype(np.float16))
            calls.answer, calls.version = mutated(rng, answer_of("probabilities", tensor)), None
            try:
                found = slices.checked(calls.slices(SLICES))
            except UserError as error:
                assert error.line.isprintable() and len(error.line) < 700
                continue
            read += 1
            assert found.shape == SLICES.shape and 0 <= found.min() and found.max() <= 1
    assert read > 10


def test_mutated_served_manifests_are_read_or_reported_in_one_line(monkeypatch):
    from semicml_tf.serving.client import predict_calls

    answer = [b""]
    monkeypatch.setattr(predict_calls.PredictCalls, "_call", lambda self, request: answer[0])
    text = np.array([MANIFEST.to_json().encode()], object)
    rng, read = random.Random(3), 0
    with memory_limit(1024 * MIB):
        for _ in range(200):
            answer[0] = mutated(rng, answer_of("manifest", tf.make_tensor_proto(text)))
            try:
                with RemoteModel("127.0.0.1:1", "ct") as model:
                    read += 1
                    assert model.manifest.window == WINDOW
            except UserError as error:
                assert error.line.isprintable() and len(error.line) < 1000
    assert read > 2


@pytest.mark.parametrize("value", [np.nan, np.inf, 7.0, -0.001])
def test_values_that_are_no_probabilities_are_refused(calls, value):
    wrong = np.zeros((3, WINDOW, WINDOW, 1), np.float32)
    wrong[1, 2, 3] = value
    calls.answer = answer_of("probabilities", tf.make_tensor_proto(wrong))
    with pytest.raises(UserError, match="got 1 of 768 values that are no probabilities, the first"):
        calls.predict(threshold_model.volume("ct", (16, 16, 3)), np.diag([-1.0, -1.0, 1.0, 1.0]))


def test_mutated_metadata_and_status_only_fail_their_check(store):
    """The conformance suite reads them: whatever comes, each check passes or fails in one line."""
    rng = random.Random(11)
    asked = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    asked.model_spec.name = "ct"
    metadata = handlers.metadata(store, asked).SerializeToString()
    status = get_model_status_pb2.GetModelStatusRequest()
    status.model_spec.name = "ct"
    status = handlers.status(store, status).SerializeToString()

    class Channel:
        def unary_unary(self, path, response_deserializer):
            data = status if path.endswith("GetModelStatus") else metadata
            return lambda request, timeout: response_deserializer(mutated(rng, data))

    server, results = conformance_server.Server(Channel(), "ct", 1.0), set()
    with memory_limit(1024 * MIB), pytest.MonkeyPatch.context() as patch:
        for function in (checks.metadata, checks.status):
            patch.setattr(checks, "all_checks", lambda server, run=function: [("it", lambda: run(server))])
            for _ in range(100):
                (found,) = suite.check(server)
                results.add(found["result"])
                assert found["details"].isprintable() and len(found["details"]) <= 300
    assert results == {"passed", "failed"}


def test_foreign_text_becomes_one_line_of_ascii():
    assert one_line("a\r\nb\x1b[2Jé\u202e") == "a b\\x1b[2J\\xe9\\u202e"
    assert one_line("x" * 5000, 10) == "xxxxxxx..."
    assert len(one_line("\x1b" * 5000, 100)) == 100
