"""A model's recorded requests, answered before the model is announced: the first real one finds all compiled."""

from __future__ import annotations

import pathlib

from semicml_tf.errors import UserError
from serving import answers
from serving.served_model import ServedModel

# The name and the form that TensorFlow Serving looks for: a TFRecord file of PredictionLog, at most so many.
RELATIVE_PATH = pathlib.PurePosixPath("assets.extra/tf_serving_warmup_requests")
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
            answers.predict_with(model, log.predict_log.request)
    except (answers.Refused, DecodeError, ValueError, tf.errors.OpError) as error:
        raise UserError(
            f"warm-up request {max(count, 1)} failed ({str(error).splitlines()[0][:200]})",
            path=path,
            remedy="Export the run again",
        ) from error
    return count
