"""A model behind gRPC, used as one in this process: the same volumes in, the same masks out."""

from __future__ import annotations

import time

import numpy as np

from semicml_tf.artefact.manifest import (
    INPUT_NAME,
    MONTE_CARLO,
    OUTPUT_NAME,
    PROBABILITIES,
    PROBABILITIES_DTYPES,
    SEEDS_NAME,
    Manifest,
)
from semicml_tf.errors import UserError
from semicml_tf.inference.volume import Segmenter
from serving.channel import open_channel


class RemoteModel(Segmenter):
    """A model on any server that speaks TensorFlow Serving's PredictionService. Close it, or use it in ``with``.

    Args:
        address: ``host:port``.
        name: the server's name of the model.
        manifest: of that model; says how to resample and normalise.
        version: of the model; None means the server's latest.
        deadline_s: for each call, its retries included.
        retries: further attempts while the server is unavailable; no other error is tried again.
        backoff_s: wait before the first retry, doubled before each further one.
        credentials: `grpc.ChannelCredentials`; None means that calls are not encrypted.
    """

    def __init__(
        self,
        address: str,
        name: str,
        manifest: Manifest,
        *,
        version: int | None = None,
        deadline_s: float = 60.0,
        retries: int = 4,
        backoff_s: float = 0.2,
        credentials=None,
    ):
        super().__init__(manifest)
        from tensorflow_serving.apis import prediction_service_pb2_grpc

        self.address, self.name, self.version = address, name, version
        self.deadline_s, self.retries, self.backoff_s = deadline_s, retries, backoff_s
        self._channel = open_channel(address, credentials)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def __enter__(self) -> RemoteModel:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()

    def origins(self) -> list[dict]:
        where = f"{self.address}/{self.name}"
        return [{"model": where, "version": self.version, "run_hash": self.manifest.run_hash}]

    def slices(self, batch: np.ndarray) -> np.ndarray:
        """Probabilities of a batch of slices.

        Raises:
            UserError: the server cannot be reached, has no such model, or answers otherwise than the manifest says.
        """
        return self._ask(PROBABILITIES, {INPUT_NAME: np.ascontiguousarray(batch, np.float32)})

    def check_dropout(self) -> None:
        """The server tells at the first call."""

    def dropout_slices(self, batch: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        """As `slices`, with dropout drawn from the seeds (batch,) int32; raises also where the model has none."""
        images = np.ascontiguousarray(batch, np.float32)
        return self._ask(MONTE_CARLO, {INPUT_NAME: images, SEEDS_NAME: np.asarray(seeds, np.int32)})

    def _ask(self, signature: str, inputs: dict[str, np.ndarray]) -> np.ndarray:
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        request.model_spec.name = self.name
        request.model_spec.signature_name = signature
        if self.version is not None:
            request.model_spec.version.value = self.version
        for name, values in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
        request.output_filter.append(OUTPUT_NAME)
        response = self._call(request)
        if OUTPUT_NAME not in response.outputs:
            raise self._unexpected(f"outputs {sorted(response.outputs)}")
        found = tf.make_ndarray(response.outputs[OUTPUT_NAME])
        shape = inputs[INPUT_NAME].shape
        if found.shape != shape or found.dtype.name not in PROBABILITIES_DTYPES:
            raise self._unexpected(f"{found.dtype} of shape {found.shape} for slices of shape {shape}")
        return found.astype(np.float32, copy=False)

    def _unexpected(self, received: str) -> UserError:
        return UserError(
            f"expected '{OUTPUT_NAME}', {' or '.join(PROBABILITIES_DTYPES)} of the slices' shape, from model "
            f"'{self.name}' at {self.address}, got {received}",
            remedy="Check that the server's model and the manifest come from one export",
        )

    def _call(self, request):
        import grpc

        end = time.monotonic() + self.deadline_s
        for attempt in range(self.retries + 1):
            try:
                return self._stub.Predict(request, timeout=max(end - time.monotonic(), 1e-3))
            except grpc.RpcError as error:
                code, details = error.code(), error.details()
                wait = self.backoff_s * 2**attempt
                again = attempt < self.retries and time.monotonic() + wait < end
                if code != grpc.StatusCode.UNAVAILABLE or not again:
                    raise self._failed(code, details) from error
                time.sleep(wait)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _failed(self, code, details: str) -> UserError:
        import grpc

        which = f"'{self.name}'" + ("" if self.version is None else f" version {self.version}")
        if code == grpc.StatusCode.UNAVAILABLE:
            return UserError(
                f"the server at {self.address} cannot be reached ({details})",
                remedy="Start it with python -m serving.local_server, or correct --address",
            )
        if code == grpc.StatusCode.NOT_FOUND:
            return UserError(
                f"the server at {self.address} has no model {which} ({details})",
                remedy="Correct --model, or export that model and start the server again",
            )
        if code == grpc.StatusCode.DEADLINE_EXCEEDED:
            return UserError(
                f"the server at {self.address} gave no answer in {self.deadline_s:g} s",
                remedy="Raise --deadline_s or lower --batch_size",
            )
        return UserError(
            f"the server at {self.address} refused model {which}: {code.name} ({details})",
            remedy="Check that the server's model and the manifest come from one export",
        )
