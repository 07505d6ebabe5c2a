"""A server as the conformance suite calls it, and what a check says when it finds something wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from semicml_tf.artefact.manifest import PROBABILITIES
from semicml_tf.serving import bounds
from semicml_tf.serving.tensors import decode

# Floats of one slice alone and in a batch may differ in their last bits: sums are ordered otherwise.
TOLERANCE = 1e-5
# Between neighbouring numbers of half precision from 0.5 to 1.
HALF_STEP = 2.0**-11


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
        """Arrays by output name that Predict gives for arrays by input name."""
        return arrays(self.predict(self.request(inputs, signature=signature)))

    def version(self) -> int:
        """The number of the version that answers."""
        return self.predict(self.request()).model_spec.version.value

    def signatures(self) -> Mapping[str, Any]:
        """`SignatureDef`s by name, as GetModelMetadata tells them."""
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


def kinds() -> dict[str, Any]:
    """The classes of the answers' messages."""
    from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

    return {
        "predict": predict_pb2.PredictResponse,
        "metadata": get_model_metadata_pb2.GetModelMetadataResponse,
        "status": get_model_status_pb2.GetModelStatusResponse,
    }


def _bytes(request) -> bytes:
    return request if isinstance(request, bytes) else request.SerializeToString()


def arrays(answer) -> dict[str, np.ndarray]:
    """A PredictResponse's outputs by name."""
    return {name: decode(tensor) for name, tensor in answer.outputs.items()}


def part(values: dict[str, np.ndarray], begin: int, end: int) -> dict[str, np.ndarray]:
    """Slices `begin` to `end` of each array."""
    return {name: value[begin:end] for name, value in values.items()}


def require_close(left: dict, right: dict, tolerance: float, what: str) -> None:
    """Raises `Failed` unless both hold the same names, of the same shapes, with values within `tolerance`.

    Values of half precision, which hold numbers of 0 to 1, may differ by one step more.
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
    """Raises `Failed` unless the call ends with one of the codes, ``A|B``; returns which."""
    import grpc

    try:
        call()
    except grpc.RpcError as error:
        if error.code().name not in codes.split("|"):
            raise Failed(f"expected {codes}, got {error.code().name} ({error.details()[:120]})") from error
        return error.code().name
    raise Failed(f"expected {codes}, got OK")
