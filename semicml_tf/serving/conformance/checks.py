"""Checks of a server of TensorFlow Serving's API: one function per check, whose docstring is the title."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from semicml_tf.artefact.manifest import DEFAULT, PROBABILITIES
from semicml_tf.serving.conformance import signatures
from semicml_tf.serving.conformance.refusals import refusals
from semicml_tf.serving.conformance.server import TOLERANCE, Failed, Server, Skipped, arrays, kinds, part, require_close

# More than gRPC's default limit of 4 MiB. The slices of a volume often exceed this limit.
BIG_BYTES = 5 << 20
IN_FLIGHT = 64


def status(server: Server) -> str:
    """GetModelStatus names an available version"""
    from tensorflow_serving.apis import get_model_status_pb2

    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = server.model
    answer = server.call("ModelService", "GetModelStatus", request, kinds()["status"])
    available = [one.version for one in answer.model_version_status if one.state == 30]
    if not available:
        raise Failed("expected an AVAILABLE version, got none")
    return f"versions {available}"


def metadata(server: Server) -> str:
    """GetModelMetadata declares `probabilities` with a free first axis"""
    declared = server.declared()
    for kind in (declared.inputs, declared.outputs):
        for name, tensor in kind.items():
            sizes = [dimension.size for dimension in tensor.tensor_shape.dim]
            if not sizes or sizes[0] != -1:
                raise Failed(f"'{name}': expected a free batch axis first, got {sizes}")
    return f"{sorted(declared.inputs)} -> {sorted(declared.outputs)}"


def predicts(server: Server) -> str:
    """Predict returns all declared outputs with their declared types and sizes"""
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
    """A batch and its single slices give the same results"""
    inputs = server.inputs(3)
    whole = server.outputs(inputs)
    for index in range(3):
        one = arrays(server.predict(server.request({name: value[index : index + 1] for name, value in inputs.items()})))
        require_close(
            {name: value[index : index + 1] for name, value in whole.items()}, one, TOLERANCE, f"slice {index}"
        )
    return f"within {TOLERANCE:g}"


def empty_batch(server: Server) -> str:
    """An empty batch gives an empty result, or is refused"""
    import grpc

    try:
        answer = server.outputs(part(server.inputs(1), 0, 0))
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.INVALID_ARGUMENT:
            raise Failed(f"expected an answer or INVALID_ARGUMENT, got {error.code().name}") from error
        return "INVALID_ARGUMENT"
    if any(len(value) for value in answer.values()):
        raise Failed(f"expected no slices, got shapes {[value.shape for value in answer.values()]}")
    return "0 slices"


def same_twice(server: Server) -> str:
    """Repeating a request gives identical bits"""
    inputs = server.inputs(2)
    first, second = (server.outputs(inputs) for _ in range(2))
    require_close(first, second, 0.0, "repeated request")
    return "equal"


def as_in_process(server: Server) -> str:
    """Results equal those of the same model in this process"""
    if server.reference is None:
        raise Skipped("no --reference given")
    inputs = server.inputs(4)
    require_close(server.outputs(inputs), server.reference(inputs), TOLERANCE, "server and reference")
    return f"within {TOLERANCE:g}"


def content(server: Server) -> str:
    """Results are sent as tensor_content, which is faster to read than float_val"""
    for name, tensor in server.predict(server.request()).outputs.items():
        if not tensor.tensor_content:
            raise Failed(
                f"'{name}': expected tensor_content, got single values. "
                "Start the server with --enable_serialization_as_tensor_content"
            )
    return "tensor_content"


def names_what_answered(server: Server) -> str:
    """The response names model, version and signature, and this version can be requested"""
    for asked, named in (("", DEFAULT), (PROBABILITIES, PROBABILITIES)):
        spec = server.predict(server.request(signature=asked)).model_spec
        if (spec.name, spec.signature_name) != (server.model, named) or not spec.version.value:
            raise Failed(f"got name '{spec.name}', version {spec.version.value}, signature '{spec.signature_name}'")
    again = server.predict(server.request(version=spec.version.value)).model_spec
    if again.version.value != spec.version.value:
        raise Failed(f"expected version {spec.version.value}, got {again.version.value}")
    return f"version {spec.version.value}"


def output_filter(server: Server) -> str:
    """output_filter selects outputs"""
    name = sorted(server.declared().outputs)[0]
    request = server.request()
    request.output_filter.append(name)
    got = sorted(server.predict(request).outputs)
    if got != [name]:
        raise Failed(f"expected ['{name}'], got {got}")
    return name


def big(server: Server) -> str:
    """A request and a response above 4 MiB are accepted"""
    inputs = server.inputs(1)
    count = -(-BIG_BYTES // sum(value.nbytes for value in inputs.values()))
    answer = arrays(
        server.predict(server.request({name: np.repeat(value, count, 0) for name, value in inputs.items()}))
    )
    if any(len(value) != count for value in answer.values()):
        raise Failed(f"expected {count} slices, got {[len(value) for value in answer.values()]}")
    return f"{count} slices"


def nan(server: Server) -> str:
    """A NaN in one slice does not change the other slices, or is refused"""
    import grpc

    inputs = server.inputs(2)
    clean = server.outputs(inputs)
    floats = [name for name, value in inputs.items() if np.issubdtype(value.dtype, np.floating)]
    if not floats:
        raise Skipped("the model has no float input")
    for name in floats:
        inputs[name][1] = np.nan
    try:
        spoilt = server.outputs(inputs)
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.INVALID_ARGUMENT:
            raise Failed(f"expected an answer or INVALID_ARGUMENT, got {error.code().name}") from error
        return "INVALID_ARGUMENT"
    require_close(part(clean, 0, 1), part(spoilt, 0, 1), TOLERANCE, "slice 0")
    return "the other slice is unchanged"


def many_at_once(server: Server) -> str:
    """Of many simultaneous calls, each succeeds or gets RESOURCE_EXHAUSTED"""
    calls = [server.begin(server.request(server.inputs(4))) for _ in range(IN_FLIGHT)]
    codes = [call.code().name for call in calls]
    wrong = sorted(set(codes) - {"OK", "RESOURCE_EXHAUSTED", "UNAVAILABLE"})
    if wrong or "OK" not in codes:
        raise Failed(f"expected OK, RESOURCE_EXHAUSTED or UNAVAILABLE, got {sorted(set(codes))}")
    return ", ".join(f"{codes.count(code)} {code}" for code in sorted(set(codes)))


def health(server: Server) -> str:
    """grpc.health.v1 reports SERVING"""
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
        raise Failed(f"expected SERVING, got {health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)}")
    return "SERVING"


ANSWERED = (
    *(status, metadata, predicts, one_by_one, empty_batch, same_twice, as_in_process, content, names_what_answered),
    *(output_filter, big, nan, many_at_once, health),
)


def all_checks(server: Server) -> Iterator[tuple[str, Callable[[], str]]]:
    """Titles and checks. A check returns a description of its result, or raises `Failed` or `Skipped`."""
    for check in (*ANSWERED, *signatures.ANSWERED):
        yield check.__doc__, lambda check=check: check(server)
    yield from refusals(server)
