"""What a server of TensorFlow Serving's API must do, check by check, against whatever listens at an address."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from semicml_tf.artefact.manifest import DEFAULT, PROBABILITIES

# Floats of one slice alone and in a batch may differ in their last bits: sums are ordered otherwise.
TOLERANCE = 1e-5
# More than gRPC's default of 4 MiB, which a volume's slices pass soon.
BIG_BYTES = 5 << 20
IN_FLIGHT = 64


class Failed(Exception):
    """A check found what must not be; its text says what was expected and what came."""


class Skipped(Exception):
    """A check does not apply to this server; its text says why."""


@dataclasses.dataclass(frozen=True)
class Server:
    """How a server is called.

    Attributes:
        channel: `grpc.Channel` without limits on message sizes.
        model: name of a model that it serves.
        deadline_s: for each call.
        reference: the signature `probabilities` of the model here, from and to arrays by name; or None.
    """

    channel: Any
    model: str
    deadline_s: float
    reference: Callable | None = None

    def call(self, service: str, method: str, request, kind=None, **options):
        """Calls a method; `kind` is the answer's message, None gives bytes."""
        return self._method(service, method, kind)(_bytes(request), timeout=self.deadline_s, **options)

    def begin(self, request):
        """Begins a Predict; returns its future."""
        return self._method("PredictionService", "Predict", _kinds()["predict"])(
            _bytes(request), timeout=self.deadline_s, as_future=True
        )

    def _method(self, service, method, kind):
        path = f"/tensorflow.serving.{service}/{method}"
        deserialize = kind.FromString if kind else None
        stub = self.channel.unary_unary(path, response_deserializer=deserialize)

        def run(data, *, as_future=False, **options):
            return (stub.future if as_future else stub)(data, **options)

        return run

    def predict(self, request):
        """Calls Predict."""
        return self.call("PredictionService", "Predict", request, _kinds()["predict"])

    def outputs(self, inputs) -> dict[str, np.ndarray]:
        """Arrays by output name that Predict gives for arrays by input name."""
        return _arrays(self.predict(self.request(inputs)))

    def declared(self):
        """The signature `probabilities`, as GetModelMetadata tells it."""
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = self.model
        answer = self.call("PredictionService", "GetModelMetadata", request, _kinds()["metadata"])
        signatures = get_model_metadata_pb2.SignatureDefMap()
        if not answer.metadata["signature_def"].Unpack(signatures):
            raise Failed("GetModelMetadata: 'signature_def' holds no SignatureDefMap")
        if PROBABILITIES not in signatures.signature_def:
            raise Failed(f"expected a signature '{PROBABILITIES}', got {sorted(signatures.signature_def)}")
        return signatures.signature_def[PROBABILITIES]

    def inputs(self, batch: int, seed: int = 0) -> dict[str, np.ndarray]:
        """Random inputs of the signature `probabilities`; free sizes other than the batch's are 1."""
        import tensorflow as tf

        rng, found = np.random.default_rng(seed), {}
        for name, wanted in sorted(self.declared().inputs.items()):
            dtype = tf.dtypes.as_dtype(wanted.dtype).as_numpy_dtype
            sizes = [max(dimension.size, 1) for dimension in wanted.tensor_shape.dim]
            found[name] = rng.uniform(-1, 1, (batch, *sizes[1:])).astype(dtype)
        return found

    def request(self, inputs=None, **spec):
        """A PredictRequest of arrays by input name; one slice if not given."""
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        request.model_spec.name = spec.pop("model", self.model)
        if "version" in spec:
            request.model_spec.version.value = spec.pop("version")
        request.model_spec.signature_name = spec.pop("signature", PROBABILITIES)
        for name, value in (self.inputs(1) if inputs is None else inputs).items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        return request


def _kinds():
    from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

    return {
        "predict": predict_pb2.PredictResponse,
        "metadata": get_model_metadata_pb2.GetModelMetadataResponse,
        "status": get_model_status_pb2.GetModelStatusResponse,
    }


def _bytes(request) -> bytes:
    return request if isinstance(request, bytes) else request.SerializeToString()


def _arrays(answer) -> dict[str, np.ndarray]:
    import tensorflow as tf

    return {name: tf.make_ndarray(tensor) for name, tensor in answer.outputs.items()}


def _part(arrays: dict[str, np.ndarray], begin: int, end: int) -> dict[str, np.ndarray]:
    return {name: value[begin:end] for name, value in arrays.items()}


def _require_close(left: dict, right: dict, tolerance: float, what: str) -> None:
    if set(left) != set(right):
        raise Failed(f"{what}: outputs {sorted(left)} and {sorted(right)}")
    for name in left:
        if left[name].shape != right[name].shape:
            raise Failed(f"{what}: '{name}' of shape {left[name].shape} and {right[name].shape}")
        difference = np.max(np.abs(left[name].astype(np.float64) - right[name]), initial=0)
        if not difference <= tolerance:
            raise Failed(f"{what}: '{name}' differs by {difference:g}")


def _require_code(codes: str, call: Callable) -> str:
    import grpc

    try:
        call()
    except grpc.RpcError as error:
        if error.code().name not in codes.split("|"):
            raise Failed(f"expected {codes}, got {error.code().name} ({error.details()[:120]})") from error
        return error.code().name
    raise Failed(f"expected {codes}, got OK")


def _version(server: Server) -> int:
    return server.predict(server.request()).model_spec.version.value


def status(server: Server) -> str:
    """GetModelStatus names an available version"""
    from tensorflow_serving.apis import get_model_status_pb2

    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = server.model
    answer = server.call("ModelService", "GetModelStatus", request, _kinds()["status"])
    available = [one.version for one in answer.model_version_status if one.state == 30]
    if not available:
        raise Failed("no version is AVAILABLE")
    return f"versions {available}"


def metadata(server: Server) -> str:
    """GetModelMetadata declares `probabilities`, batch axis first and free"""
    declared = server.declared()
    for kind in (declared.inputs, declared.outputs):
        for name, tensor in kind.items():
            sizes = [dimension.size for dimension in tensor.tensor_shape.dim]
            if not sizes or sizes[0] != -1:
                raise Failed(f"'{name}': expected a free batch axis first, got {sizes}")
    return f"{sorted(declared.inputs)} -> {sorted(declared.outputs)}"


def predicts(server: Server) -> str:
    """Predict gives every declared output, of the declared type and sizes"""
    import tensorflow as tf

    declared, answer = server.declared(), server.outputs(server.inputs(3))
    if set(answer) != set(declared.outputs):
        raise Failed(f"expected outputs {sorted(declared.outputs)}, got {sorted(answer)}")
    for name, wanted in declared.outputs.items():
        sizes = [3, *[dimension.size for dimension in wanted.tensor_shape.dim][1:]]
        right = all(size in (-1, got) for size, got in zip(sizes, answer[name].shape))
        if len(sizes) != answer[name].ndim or not right:
            raise Failed(f"'{name}': expected shape {sizes}, got {answer[name].shape}")
        if tf.dtypes.as_dtype(wanted.dtype) != tf.dtypes.as_dtype(answer[name].dtype):
            raise Failed(f"'{name}': expected {tf.dtypes.as_dtype(wanted.dtype).name}, got {answer[name].dtype}")
    return ", ".join(f"{name} {value.dtype} {value.shape}" for name, value in answer.items())


def one_by_one(server: Server) -> str:
    """A batch gives what its slices give one by one"""
    inputs = server.inputs(3)
    whole = server.outputs(inputs)
    for index in range(3):
        one = _arrays(
            server.predict(server.request({name: value[index : index + 1] for name, value in inputs.items()}))
        )
        _require_close(
            {name: value[index : index + 1] for name, value in whole.items()}, one, TOLERANCE, f"slice {index}"
        )
    return f"within {TOLERANCE:g}"


def empty_batch(server: Server) -> str:
    """A batch of no slice gives no slice, or is refused"""
    import grpc

    try:
        answer = server.outputs(_part(server.inputs(1), 0, 0))
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.INVALID_ARGUMENT:
            raise Failed(f"expected an answer or INVALID_ARGUMENT, got {error.code().name}") from error
        return "INVALID_ARGUMENT"
    if any(len(value) for value in answer.values()):
        raise Failed(f"got {[value.shape for value in answer.values()]}")
    return "0 slices"


def same_twice(server: Server) -> str:
    """The same request gives the same bits"""
    inputs = server.inputs(2)
    first, second = (server.outputs(inputs) for _ in range(2))
    _require_close(first, second, 0.0, "twice")
    return "equal"


def as_in_process(server: Server) -> str:
    """The answer is that of the same model in this process"""
    if server.reference is None:
        raise Skipped("no --reference given")
    inputs = server.inputs(4)
    _require_close(server.outputs(inputs), server.reference(inputs), TOLERANCE, "in process")
    return f"within {TOLERANCE:g}"


def content(server: Server) -> str:
    """Answers are sent as tensor_content, which is read many times faster than float_val"""
    for name, tensor in server.predict(server.request()).outputs.items():
        if not tensor.tensor_content:
            raise Failed(
                f"'{name}' is sent value by value: start the server with --enable_serialization_as_tensor_content"
            )
    return "tensor_content"


def names_what_answered(server: Server) -> str:
    """The answer names model, version and signature; that version can be asked for"""
    for asked, named in (("", DEFAULT), (PROBABILITIES, PROBABILITIES)):
        spec = server.predict(server.request(signature=asked)).model_spec
        if (spec.name, spec.signature_name) != (server.model, named) or not spec.version.value:
            raise Failed(f"got name '{spec.name}', version {spec.version.value}, signature '{spec.signature_name}'")
    again = server.predict(server.request(version=spec.version.value)).model_spec
    if again.version.value != spec.version.value:
        raise Failed(f"asked for version {spec.version.value}, got {again.version.value}")
    return f"version {spec.version.value}"


def output_filter(server: Server) -> str:
    """output_filter chooses outputs"""
    name = sorted(server.declared().outputs)[0]
    request = server.request()
    request.output_filter.append(name)
    got = sorted(server.predict(request).outputs)
    if got != [name]:
        raise Failed(f"expected ['{name}'], got {got}")
    return name


def big(server: Server) -> str:
    """A request above 4 MiB passes, and so does its answer"""
    inputs = server.inputs(1)
    count = -(-BIG_BYTES // sum(value.nbytes for value in inputs.values()))
    answer = _arrays(
        server.predict(server.request({name: np.repeat(value, count, 0) for name, value in inputs.items()}))
    )
    if any(len(value) != count for value in answer.values()):
        raise Failed(f"sent {count} slices, got {[len(value) for value in answer.values()]}")
    return f"{count} slices"


def nan(server: Server) -> str:
    """A NaN makes its own slice NaN or refused, and nothing else"""
    import grpc

    inputs = server.inputs(2)
    clean = server.outputs(inputs)
    floats = [name for name, value in inputs.items() if np.issubdtype(value.dtype, np.floating)]
    if not floats:
        raise Skipped("no input of floats")
    for name in floats:
        inputs[name][1] = np.nan
    try:
        spoilt = server.outputs(inputs)
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.INVALID_ARGUMENT:
            raise Failed(f"expected an answer or INVALID_ARGUMENT, got {error.code().name}") from error
        return "INVALID_ARGUMENT"
    _require_close(_part(clean, 0, 1), _part(spoilt, 0, 1), TOLERANCE, "slice 0")
    return "the other slice is as before"


def many_at_once(server: Server) -> str:
    """Many calls at once are each answered, or told RESOURCE_EXHAUSTED"""
    calls = [server.begin(server.request(server.inputs(4))) for _ in range(IN_FLIGHT)]
    codes = [call.code().name for call in calls]
    wrong = sorted(set(codes) - {"OK", "RESOURCE_EXHAUSTED", "UNAVAILABLE"})
    if wrong or "OK" not in codes:
        raise Failed(f"got {sorted(set(codes))}")
    return ", ".join(f"{codes.count(code)} {code}" for code in sorted(set(codes)))


def health(server: Server) -> str:
    """grpc.health.v1 says SERVING"""
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    try:
        answer = health_pb2_grpc.HealthStub(server.channel).Check(
            health_pb2.HealthCheckRequest(), timeout=server.deadline_s
        )
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.UNIMPLEMENTED:
            raise Skipped("the server has no health service") from error
        raise
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise Failed(f"got {health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)}")
    return "SERVING"


def _wrong_requests(server: Server) -> Iterator[tuple[str, str, Any]]:
    """What must be refused: title, codes, request."""
    inputs = server.inputs(1)
    name, value = next(iter(inputs.items()))
    yield "an unknown model", "NOT_FOUND", server.request(inputs, model=f"{server.model}-unknown")
    yield "an unknown version", "NOT_FOUND", server.request(inputs, version=_version(server) + 1000)
    yield "an unknown signature", "FAILED_PRECONDITION|INVALID_ARGUMENT", server.request(inputs, signature="unknown")
    yield "no model named", "INVALID_ARGUMENT", server.request(inputs, model="")
    yield "an input missing", "INVALID_ARGUMENT", server.request({})
    yield "an input too many", "INVALID_ARGUMENT", server.request(inputs | {"unknown": value})
    other = np.float64 if value.dtype != np.float64 else np.int32
    yield "a wrong dtype", "INVALID_ARGUMENT", server.request(inputs | {name: value.astype(other)})
    yield "a wrong rank", "INVALID_ARGUMENT", server.request(inputs | {name: value[0]})
    if value.ndim > 1:
        yield "a wrong size", "INVALID_ARGUMENT", server.request(inputs | {name: np.concatenate([value, value], 1)})
    short = server.request(inputs)
    short.inputs[name].tensor_content = short.inputs[name].tensor_content[:-1]
    yield "a tensor cut short", "INVALID_ARGUMENT", short
    huge = server.request(inputs)
    huge.inputs[name].tensor_shape.dim[0].size = 1 << 40
    yield "a shape that claims more than is sent", "INVALID_ARGUMENT|RESOURCE_EXHAUSTED", huge
    unknown = server.request(inputs)
    unknown.output_filter.append("unknown")
    yield "an unknown output", "INVALID_ARGUMENT", unknown
    yield "a message that is none", "INVALID_ARGUMENT|INTERNAL", b"\xff\xff\xff\xff"
    yield "a message cut short", "INVALID_ARGUMENT|INTERNAL", server.request(inputs).SerializeToString()[:-5]


ANSWERED = (
    *(status, metadata, predicts, one_by_one, empty_batch, same_twice, as_in_process, content, names_what_answered),
    *(output_filter, big, nan, many_at_once, health),
)


def all_checks(server: Server) -> Iterator[tuple[str, Callable[[], str]]]:
    """Titles and checks; a check returns what it saw, or raises `Failed` or `Skipped`."""
    for check in ANSWERED:
        yield check.__doc__, lambda check=check: check(server)
    for title, codes, request in _wrong_requests(server):

        def refused(codes=codes, request=request):
            code = _require_code(codes, lambda: server.predict(request))
            server.predict(server.request())
            return code

        yield f"Refuses {title}, and lives on", refused
