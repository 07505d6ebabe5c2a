"""A PredictionService in this process that answers as a test tells it: failures, versions, waits."""

import collections
import concurrent.futures
import contextlib
import threading

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from semicml_tf.artefact.manifest import (
    INPUT_NAME,
    MANIFEST,
    MANIFEST_NAME,
    OUTPUT_NAME,
    QUERIES_NAME,
)
from tests.support import threshold_model


def as_content(values):
    """What `Tensor::AsProtoTensorContent` of TensorFlow's C++ makes of an array."""
    values = np.asarray(values)
    tensor = tf.make_tensor_proto(values)
    if values.dtype.kind == "O":
        tensor.ClearField("string_val")
        texts = list(values.ravel())
        tensor.tensor_content = b"".join([*(_varint(len(text)) for text in texts), *texts])
    return tensor


def _varint(number):
    found = bytearray()
    while number > 127:
        found.append(number % 128 + 128)
        number //= 128
    return bytes([*found, number])


class Fake(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Threshold models by name.

    Attributes:
        versions: by model name its versions, each a manifest.
        tells_manifest: whether there is the signature `manifest`.
        sends_content: whether strings come as TensorFlow Serving sends them if it is told to send tensor_content.
        fail: (status, how many times) of the next calls with slices.
        each: called with the number of a call with slices (from 1) before that is answered; may wait, or change
            `versions`.
        spoil: called with each tensor that is answered; may change it.
        calls: how often each signature was asked.
        sizes: slices of each request.
        most: calls with slices under way at once, at most.
    """

    def __init__(self, *modalities, window=16):
        self.versions = {name: {1: threshold_model.manifest(name, window=window)} for name in modalities}
        self.tells_manifest, self.sends_content = True, False
        self.fail, self.each = (None, 0), lambda number: None
        self.spoil = lambda tensor: None
        self.calls, self.sizes, self.most = collections.Counter(), [], 0
        self._now, self._lock = 0, threading.Lock()

    def Predict(self, request, context):
        spec = request.model_spec
        with self._lock:
            self.calls[spec.signature_name] += 1
            number = self.calls[spec.signature_name]
        if spec.signature_name == MANIFEST and not self.tells_manifest:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, 'Serving signature key "manifest" not found')
        if spec.signature_name == MANIFEST:
            return self._answer(request, context, self._manifest)
        with self._lock:
            self.sizes.append(request.inputs[INPUT_NAME].tensor_shape.dim[0].size)
            self._now += 1
            self.most = max(self.most, self._now)
            status, times = self.fail
            self.fail = status, times - 1
        try:
            self.each(number)
            if times > 0:
                context.abort(status, "not now")
            return self._answer(request, context, self._probabilities)
        finally:
            with self._lock:
                self._now -= 1

    def _answer(self, request, context, answer):
        spec = request.model_spec
        held = self.versions.get(spec.name, {})
        version = spec.version.value if spec.HasField("version") else max(held, default=0)
        if version not in held:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {spec.name}, {version}")
        response = predict_pb2.PredictResponse()
        response.model_spec.name = spec.name
        response.model_spec.version.value = version
        name, values = answer(held[version], request)
        response.outputs[name].CopyFrom(as_content(values) if self.sends_content else tf.make_tensor_proto(values))
        self.spoil(response.outputs[name])
        return response

    @staticmethod
    def _manifest(manifest, request):
        count = request.inputs[QUERIES_NAME].tensor_shape.dim[0].size
        return MANIFEST_NAME, np.array([manifest.to_json().encode()] * count, object)

    @staticmethod
    def _probabilities(manifest, request):
        return OUTPUT_NAME, threshold_model.predict(manifest.modality)(tf.make_ndarray(request.inputs[INPUT_NAME]))


@contextlib.contextmanager
def serving(fake, *, threads=16, options=()):
    """The address of a server that asks `fake`."""
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(threads), options=options)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(fake, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
