"""PredictionService and ModelService of TensorFlow Serving on a `grpc.aio` server."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from semicml_tf.serving import bounds
from semicml_tf.serving.server import handlers
from semicml_tf.serving.server.admission import Admission
from semicml_tf.serving.server.model_store import ModelStore

_LOG = logging.getLogger(__name__)
_PREDICTION = "tensorflow.serving.PredictionService"
_MODEL = "tensorflow.serving.ModelService"
SERVICES = (_PREDICTION, _MODEL)


class _Caller:
    """Who waits for an answer, and until when. Read by the worker, written by the event loop."""

    def __init__(self, context):
        remaining = context.time_remaining()
        self._end = None if remaining is None else time.monotonic() + remaining
        self.left = threading.Event()

    def check(self) -> None:
        """Raises `answers.Refused` where the caller has left or the deadline is over."""
        if self._end is not None and time.monotonic() > self._end:
            raise handlers.Refused("DEADLINE_EXCEEDED", "the deadline is over")
        if self.left.is_set():
            raise handlers.Refused("CANCELLED", "the caller has left")


def respond(data: bytes, kind, answer: Callable, max_bytes: int = bounds.MAX_BYTES) -> bytes:
    """The serialised answer to a serialised request.

    Args:
        kind: class of the request's message.
        answer: the answer's message as a function of the request's.
        max_bytes: of the numbers of the message.

    Raises:
        answers.Refused: the bytes are no such message, or `answer` refuses it.
    """
    from google.protobuf.message import DecodeError

    try:
        bounds.check_message(data, kind.DESCRIPTOR, max_bytes)
        request = kind.FromString(data)
    except bounds.TooLarge as error:
        raise handlers.Refused("RESOURCE_EXHAUSTED", str(error)) from error
    except DecodeError as error:
        raise handlers.Refused("INVALID_ARGUMENT", f"expected a {kind.DESCRIPTOR.name} ({error})") from error
    return answer(request).SerializeToString()


def _handler(answer: Callable, kind, run: Callable, max_bytes: int):
    """A method that reads and writes bytes, so that the event loop decodes no message: a worker does."""
    import grpc

    def work(data: bytes, caller: _Caller) -> bytes:
        caller.check()
        return respond(data, kind, lambda request: answer(request, caller), max_bytes)

    async def handle(data: bytes, context) -> bytes:
        caller = _Caller(context)
        try:
            return await run(work, data, caller)
        except handlers.Refused as refused:
            await context.abort(grpc.StatusCode[refused.code], refused.details)
        except Exception:
            _LOG.exception("%s failed", kind.DESCRIPTOR.name)
            await context.abort(grpc.StatusCode.INTERNAL, "the server failed; see its log")
        finally:
            caller.left.set()

    return grpc.unary_unary_rpc_method_handler(handle)


def add_to_server(store: ModelStore, server, admission: Admission, max_bytes: int = bounds.MAX_BYTES) -> None:
    """Registers both services with a `grpc.aio.Server`; calls other than the three answered are UNIMPLEMENTED.

    Args:
        max_bytes: of the decoded inputs of a call, and of its answer.
    """
    import grpc
    from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

    async def at_once(work, *arguments):
        # Asks the store alone: never behind volumes that wait.
        admission.arrives()
        return work(*arguments)

    def predict(request, caller):
        return handlers.predict(store, request, max_bytes=max_bytes, check_wanted=caller.check)

    def metadata(request, caller):
        return handlers.metadata(store, request)

    def status(request, caller):
        return handlers.status(store, request)

    def method(answer, kind, run=at_once):
        return _handler(answer, kind, run, max_bytes)

    services = {
        _PREDICTION: {
            "Predict": method(predict, predict_pb2.PredictRequest, admission.run),
            "GetModelMetadata": method(metadata, get_model_metadata_pb2.GetModelMetadataRequest),
        },
        _MODEL: {"GetModelStatus": method(status, get_model_status_pb2.GetModelStatusRequest)},
    }
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(name, methods) for name, methods in services.items()]
    )
