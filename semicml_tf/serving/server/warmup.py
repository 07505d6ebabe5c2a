"""A model's recorded requests, answered before the model is announced: the first real one finds all compiled."""

from __future__ import annotations

import pathlib

from semicml_tf.errors import UserError, first_line
from semicml_tf.exporting.warmup_requests import RELATIVE_PATH
from semicml_tf.serving.server import handlers
from semicml_tf.serving.server.served_model import ServedModel

# TensorFlow Serving replays no more.
MOST = 1000


def replay(model: ServedModel, folder: pathlib.Path) -> int:
    """Answers the requests that lie beside a model; returns how many.

    Raises:
        UserError: one cannot be read or answered: the model is not as it was published.
    """
    import tensorflow as tf
    from google.protobuf.message import DecodeError
    from tensorflow_serving.apis import prediction_log_pb2

    path = folder / RELATIVE_PATH
    if not path.is_file():
        return 0
    count = 0
    try:
        for count, record in enumerate(tf.data.TFRecordDataset(str(path)).take(MOST + 1), start=1):
            log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
            if count > MOST or log.WhichOneof("log_type") != "predict_log":
                raise ValueError(f"expected at most {MOST} Predict requests, got {log.WhichOneof('log_type')}")
            request = log.predict_log.request
            for tensor in request.inputs.values():
                # A value that is missing equals the last one sent. Callers must send all, but this file is our own.
                tensor.CopyFrom(tf.make_tensor_proto(tf.make_ndarray(tensor)))
            handlers.predict_with(model, request)
    except (handlers.Refused, DecodeError, MemoryError, TypeError, ValueError, tf.errors.OpError) as error:
        reason = first_line(error)[:200]
        raise UserError(
            f"warm-up request {max(count, 1)} failed ({reason})",
            path=path,
            remedy="Export the run again",
        ) from error
    return count
