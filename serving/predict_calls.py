"""Predict calls to one model on any server that speaks TensorFlow Serving's PredictionService."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping

import numpy as np

from serving import remote_failure
from serving.channel import open_channel
from serving.remote_failure import RemoteFailure
from serving.tensors import decode

# No wait before a retry is longer, however many there were.
LONGEST_BACKOFF_S = 5.0


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
    ):
        from tensorflow_serving.apis import prediction_service_pb2_grpc

        self.address, self.name = address, name
        self.deadline_s, self.retries, self.backoff_s = deadline_s, retries, backoff_s
        self._channel = open_channel(address, credentials)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._closed = threading.Event()

    def close(self) -> None:
        """Ends the connection."""
        self._closed.set()
        self._channel.close()

    def ask(
        self, signature: str, inputs: Mapping[str, np.ndarray], output: str, version: int | None = None
    ) -> tuple[np.ndarray, int | None]:
        """One output of a signature, and the version that answered as the server tells it.

        Args:
            inputs: arrays by input name.
            version: to be asked; None means the server's latest.

        Raises:
            RemoteFailure: there is no such answer.
        """
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        request.model_spec.name = self.name
        request.model_spec.signature_name = signature
        if version is not None:
            request.model_spec.version.value = version
        for name, values in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
        request.output_filter.append(output)
        response = self._call(request)
        if output not in response.outputs:
            raise RemoteFailure(
                f"expected '{output}' from signature '{signature}' of model '{self.name}' at {self.address}, "
                f"got outputs {sorted(response.outputs)}",
                remedy="Check that the server's model and the manifest come from one export",
                model=self.name,
            )
        try:
            values = decode(response.outputs[output])
        except (TypeError, ValueError) as error:
            raise RemoteFailure(
                f"'{output}' of model '{self.name}' at {self.address} cannot be decoded ({error})",
                remedy="Check what answers at this address",
                model=self.name,
            ) from error
        spec = response.model_spec
        return values, spec.version.value if spec.HasField("version") else None

    def _call(self, request):
        import grpc

        end = time.monotonic() + self.deadline_s
        for attempt in range(self.retries + 1):
            try:
                return self._stub.Predict(request, timeout=max(end - time.monotonic(), 1e-3))
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
