"""PredictionService and ModelService of TensorFlow Serving on a `grpc.aio` server."""

from __future__ import annotations

import logging
from collections.abc import Callable

from serving import answers
from serving.admission import Admission
from serving.model_store import ModelStore

_LOG = logging.getLogger(__name__)
_PREDICTION = "tensorflow.serving.PredictionService"
_MODEL = "tensorflow.serving.ModelService"
SERVICES = (_PREDICTION, _MODEL)


def _handler(answer: Callable, kind, store: ModelStore, run: Callable):
    """A method that reads and writes bytes, so that the event loop decodes no message: a worker does."""
    import grpc
    from google.protobuf.message import DecodeError

    def work(data: bytes) -> bytes:
        try:
            request = kind.FromString(data)
        except DecodeError as error:
            raise answers.Refused("INVALID_ARGUMENT", f"expected a {kind.DESCRIPTOR.name} ({error})") from error
        return answer(store, request).SerializeToString()

    async def handle(data: bytes, context) -> bytes:
        try:
            return await run(work, data)
        except answers.Refused as refused:
            await context.abort(grpc.StatusCode[refused.code], refused.details)
        except Exception:
            _LOG.exception("%s failed", answer.__name__)
            await context.abort(grpc.StatusCode.INTERNAL, "the server failed; see its log")

    return grpc.unary_unary_rpc_method_handler(handle)


def add_to_server(store: ModelStore, server, admission: Admission) -> None:
    """Registers both services with a `grpc.aio.Server`; calls other than the three answered are UNIMPLEMENTED."""
    import grpc
    from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

    async def at_once(work, data):
        # Asks the store alone: never behind volumes that wait.
        admission.arrives()
        return work(data)

    def method(answer, kind, run=at_once):
        return _handler(answer, kind, store, run)

    services = {
        _PREDICTION: {
            "Predict": method(answers.predict, predict_pb2.PredictRequest, admission.run),
            "GetModelMetadata": method(answers.metadata, get_model_metadata_pb2.GetModelMetadataRequest),
        },
        _MODEL: {"GetModelStatus": method(answers.status, get_model_status_pb2.GetModelStatusRequest)},
    }
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(name, methods) for name, methods in services.items()]
    )
