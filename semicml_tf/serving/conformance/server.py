"""The client side of the conformance suite: calls of a server, and the outcomes of a check."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from semicml_tf.artefact.manifest import PROBABILITIES
from semicml_tf.serving import bounds
from semicml_tf.serving.tensors import decode

# The last bits of a slice's floats may depend on the batch, because the order of the sums differs.
TOLERANCE = 1e-5
# Distance of neighbouring half-precision numbers between 0.5 and 1.
HALF_STEP = 2.0**-11


class Failed(Exception):
    """A check failed. The text states what was expected and what was received."""


class Skipped(Exception):
    """A check does not apply to this server. The text states the reason."""


@dataclasses.dataclass(frozen=True)
class Server:
    """A server under test.

    Attributes:
        channel: `grpc.Channel` without limits on message sizes.
        model: name of a served model.
        deadline_s: time limit of each call, in seconds.
        reference: the signature `probabilities` of the local model. It maps arrays by name to arrays by name.
    """

    channel: Any
    model: str
    deadline_s: float
    reference: Callable | None = None

    def call(self, service: str, method: str, request, kind=None, **options):
        """Calls a method. `kind` is the class of the response; without it, the response is bytes."""
        return self._method(service, method, kind)(_bytes(request), timeout=self.deadline_s, **options)

    def begin(self, request):
        """Starts a Predict call and returns its future."""
        return self._method("PredictionService", "Predict", kinds()["predict"])(
            _bytes(request), timeout=self.deadline_s, as_future=True
        )

    def _method(self, service, method, kind):
        path = f"/tensorflow.serving.{service}/{method}"

        def parse(data: bytes):
            bounds.check_message(data, kind.DESCRIPTOR)
            return kind.FromString(data)

        stub = self.channel.unary_unary(path, response_deserializer=parse if kind else None)

        def run(data, *, as_future=False, **options):
            return (stub.future if as_future else stub)(data, **options)

        return run

    def predict(self, request):
        """Calls Predict."""
        return self.call("PredictionService", "Predict", request, kinds()["predict"])

    def outputs(self, inputs, signature: str = PROBABILITIES) -> dict[str, np.ndarray]:
        """Calls Predict with arrays by input name and returns arrays by output name."""
        return arrays(self.predict(self.request(inputs, signature=signature)))

    def version(self) -> int:
        """The number of the version that answers a Predict call."""
        return self.predict(self.request()).model_spec.version.value

    def signatures(self) -> Mapping[str, Any]:
        """`SignatureDef`s by name, from GetModelMetadata."""
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = self.model
        answer = self.call("PredictionService", "GetModelMetadata", request, kinds()["metadata"])
        signatures = get_model_metadata_pb2.SignatureDefMap()
        if not answer.metadata["signature_def"].Unpack(signatures):
            raise Failed("GetModelMetadata: 'signature_def' holds no SignatureDefMap")
        return signatures.signature_def

    def declared(self):
        """The `SignatureDef` of `probabilities`."""
        found = self.signatures()
        if PROBABILITIES not in found:
            raise Failed(f"expected a signature '{PROBABILITIES}', got {sorted(found)}")
        return found[PROBABILITIES]

    def inputs(self, batch: int, seed: int = 0) -> dict[str, np.ndarray]:
        """Random inputs of the signature `probabilities`. Free sizes, except the batch size, are 1."""
        import tensorflow as tf

        rng, found = np.random.default_rng(seed), {}
        for name, wanted in sorted(self.declared().inputs.items()):
            dtype = tf.dtypes.as_dtype(wanted.dtype).as_numpy_dtype
            sizes = [max(dimension.size, 1) for dimension in wanted.tensor_shape.dim]
            found[name] = rng.uniform(-1, 1, (batch, *sizes[1:])).astype(dtype)
        return found

    def request(self, inputs=None, **spec):
        """A PredictRequest of arrays by input name. Without arrays, the request has one random slice."""
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


def kinds() -> dict[str, Any]:
    """The message classes of the responses."""
    from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

    return {
        "predict": predict_pb2.PredictResponse,
        "metadata": get_model_metadata_pb2.GetModelMetadataResponse,
        "status": get_model_status_pb2.GetModelStatusResponse,
    }


def _bytes(request) -> bytes:
    return request if isinstance(request, bytes) else request.SerializeToString()


def arrays(answer) -> dict[str, np.ndarray]:
    """The outputs of a PredictResponse, by name."""
    return {name: decode(tensor) for name, tensor in answer.outputs.items()}


def part(values: dict[str, np.ndarray], begin: int, end: int) -> dict[str, np.ndarray]:
    """Slices `begin` to `end` of each array."""
    return {name: value[begin:end] for name, value in values.items()}


def require_close(left: dict, right: dict, tolerance: float, what: str) -> None:
    """Raises `Failed` unless both have the same names and shapes, and values within `tolerance`.

    Half-precision values must be between 0 and 1. They may differ by one more rounding step.
    """
    if set(left) != set(right):
        raise Failed(f"{what}: outputs {sorted(left)} and {sorted(right)}")
    for name in left:
        if left[name].shape != right[name].shape:
            raise Failed(f"{what}: '{name}' of shape {left[name].shape} and {right[name].shape}")
        allowed = tolerance + (HALF_STEP if tolerance and left[name].dtype == np.float16 else 0)
        difference = np.max(np.abs(left[name].astype(np.float64) - right[name]), initial=0)
        if not difference <= allowed:
            raise Failed(f"{what}: '{name}' differs by {difference:g}")


def require_code(codes: str, call: Callable) -> str:
    """Raises `Failed` unless the call ends with one of the codes ``A|B``; returns the received code."""
    import grpc

    try:
        call()
    except grpc.RpcError as error:
        if error.code().name not in codes.split("|"):
            raise Failed(f"expected {codes}, got {error.code().name} ({error.details()[:120]})") from error
        return error.code().name
    raise Failed(f"expected {codes}, got OK")
