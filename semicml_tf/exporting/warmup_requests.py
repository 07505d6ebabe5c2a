"""Warm-up requests: a server sends them to a new model first, because TensorFlow compiles a graph at its first call."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from semicml_tf.artefact.manifest import Manifest
from semicml_tf.exporting import slice_example
from semicml_tf.geometry.patch import Patch
from semicml_tf.inference import patches
from semicml_tf.records import tfrecord_file
from semicml_tf.system import atomic_files

# Name and format are those of TensorFlow Serving: a TFRecord file of PredictionLog.
RELATIVE_PATH = pathlib.PurePosixPath("assets.extra/tf_serving_warmup_requests")


def write(model_folder: str | pathlib.Path, manifest: Manifest, batch_sizes: Sequence[int]) -> None:
    """Writes one request per signature and batch size, with the shapes that clients send."""
    if len(manifest.patch.spatial) == 3:
        batch_sizes = [patches.limited(size, manifest.patch) for size in batch_sizes]
    logs = [
        _request(manifest, signature, size).SerializeToString()
        for size in sorted(set(batch_sizes))
        for signature in manifest.signatures
    ]

    def write_all(stream):
        for log in logs:
            tfrecord_file.write(stream, log)

    atomic_files.write_file(pathlib.Path(model_folder) / RELATIVE_PATH, write_all)


def _request(manifest: Manifest, signature: str, batch_size: int):
    from tensorflow_serving.apis import prediction_log_pb2

    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.name = manifest.modality
    request.model_spec.signature_name = signature
    for name, declared in manifest.signatures[signature]["inputs"].items():
        shape = [batch_size, *declared["shape"][1:]]
        request.inputs[name].CopyFrom(_tensor(declared["dtype"], shape, manifest.patch))
    return log


def _tensor(dtype: str, shape: Sequence[int], patch: Patch) -> Any:
    """A `TensorProto` with one value: in this format, missing values equal the last value.

    The file stays small for any size of slices.
    """
    import tensorflow as tf
    from tensorflow.core.framework import tensor_pb2

    tensor = tensor_pb2.TensorProto(
        dtype=tf.dtypes.as_dtype(dtype).as_datatype_enum, tensor_shape=tf.TensorShape(shape).as_proto()
    )
    if dtype == "string":
        tensor.string_val.append(slice_example.encode(np.ones(patch.shape, np.float32)))
    elif dtype == "float32":
        tensor.float_val.append(1.0)  # not 0, by which `raw` would divide
    else:
        tensor.int_val.append(0)
    return tensor
