"""Predict calls to one model on any server that speaks TensorFlow Serving's PredictionService."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from semicml_tf.serving import bounds
from semicml_tf.serving.client import remote_failure
from semicml_tf.serving.client.channel import open_channel
from semicml_tf.serving.client.remote_failure import RemoteFailure
from semicml_tf.serving.tensors import decode
from semicml_tf.serving.terminal_text import one_line

# No wait before a retry is longer, however many there were.
LONGEST_BACKOFF_S = 5.0
# A manifest, and what an answer holds beside its values.
_HEADER_BYTES = 2**20


class PredictCalls:
    """A connection. May be used by several threads at once; close it, which ends what is under way, too.

    Args:
        address: ``host:port``.
        name: the server's name of the model.
        deadline_s: for each call, its retries included.
        retries: further attempts while the server is unavailable; no other error is tried again.
        backoff_s: the first retry waits up to this long, each further one up to twice as long as the one before. How
            long is drawn at random, so that calls that failed together do not come back together.
        credentials: `grpc.ChannelCredentials`; None means that calls are not encrypted.
        max_answer_bytes: of the values of an answer; a larger one is not read.
    """

    def __init__(
        self,
        address: str,
        name: str,
        *,
        deadline_s: float = 120.0,
        retries: int = 4,
        backoff_s: float = 0.2,
        credentials=None,
        max_answer_bytes: int = 2**30,
    ):
        self.address, self.name = address, name
        self.deadline_s, self.retries, self.backoff_s = deadline_s, retries, backoff_s
        self._max_bytes = max_answer_bytes + _HEADER_BYTES
        self._channel = open_channel(address, credentials, self._max_bytes)
        # Bytes in and out: an answer is checked before it is parsed.
        self._predict = self._channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        self._closed = threading.Event()

    def close(self) -> None:
        """Ends the connection."""
        self._closed.set()
        self._channel.close()

    def ask(
        self,
        signature: str,
        inputs: Mapping[str, np.ndarray],
        output: str,
        version: int | None = None,
        *,
        dtypes: Collection[str],
        shape: Sequence[int],
    ) -> tuple[np.ndarray, int | None]:
        """One output of a signature, and the version that answered as the server tells it.

        Args:
            inputs: arrays by input name.
            version: to be asked; None means the server's latest.
            dtypes: names of the types that the output may have.
            shape: of the output. Both are compared with what the server claims before the values are decoded.

        Raises:
            RemoteFailure: there is no such answer.
        """
        import tensorflow as tf
        from google.protobuf.message import DecodeError
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        request.model_spec.name = self.name
        request.model_spec.signature_name = signature
        if version is not None:
            request.model_spec.version.value = version
        for name, values in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
        request.output_filter.append(output)
        data = self._call(request)
        try:
            bounds.check_message(data, predict_pb2.PredictResponse.DESCRIPTOR, self._max_bytes)
            response = predict_pb2.PredictResponse.FromString(data)
        except (bounds.TooLarge, DecodeError) as error:
            raise self._strange(
                f"expected a PredictResponse ({error})", "Check what answers at this address"
            ) from error
        if output not in response.outputs:
            raise self._strange(
                f"expected '{output}' from signature '{signature}', got outputs {sorted(response.outputs)}",
                "Check that the server's model and the manifest come from one export",
            )
        try:
            values = decode(response.outputs[output], dtypes, shape, what=f"'{output}'", max_bytes=self._max_bytes)
        except ValueError as error:
            raise self._strange(
                str(error), "Check that the server's model and the manifest come from one export"
            ) from error
        spec = response.model_spec
        return values, spec.version.value if spec.HasField("version") else None

    def _strange(self, problem: str, remedy: str) -> RemoteFailure:
        where = f"the answer of model '{self.name}' at {self.address}"
        return RemoteFailure(f"{where}: {one_line(problem)}", remedy=remedy, model=self.name)

    def _call(self, request) -> bytes:
        import grpc

        data = request.SerializeToString()
        end = time.monotonic() + self.deadline_s
        for attempt in range(self.retries + 1):
            try:
                return self._predict(data, timeout=max(end - time.monotonic(), 1e-3))
            except grpc.RpcError as error:
                code, details = error.code(), error.details() or ""
                # Half of it at least: a server that starts again is to be given time.
                wait = min(self.backoff_s * 2**attempt, LONGEST_BACKOFF_S) * random.uniform(0.5, 1.0)
                again = attempt < self.retries and time.monotonic() + wait < end
                if code != grpc.StatusCode.UNAVAILABLE or not again or self._closed.wait(wait):
                    asked = request.model_spec
                    raise remote_failure.of_status(
                        code.name,
                        details,
                        where=self.address,
                        model=self.name,
                        version=asked.version.value if asked.HasField("version") else None,
                        deadline_s=self.deadline_s,
                    ) from error
        raise AssertionError("unreachable: the last attempt returns or raises")
