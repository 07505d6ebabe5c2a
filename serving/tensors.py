"""Arrays from requests, checked against what a signature declares before anything is allocated, and into answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

# Where a TensorProto keeps the values of a dtype when it does not send them as bytes.
_VALUE_FIELDS = {
    "float16": "half_val",
    "bfloat16": "half_val",
    "float32": "float_val",
    "float64": "double_val",
    "int8": "int_val",
    "int16": "int_val",
    "int32": "int_val",
    "uint8": "int_val",
    "int64": "int64_val",
    "bool": "bool_val",
    "string": "string_val",
}


# A single value stands for all of a tensor, as `tf.make_tensor_proto(1.0, shape=...)` sends it. A few bytes thus become
# many; no more than this.
_MOST_FILLED = 2**24


class BadTensor(ValueError):
    """A request's tensor is not what the signature takes."""


def decode_inputs(inputs: Mapping[str, Any], signature_def) -> dict[str, np.ndarray]:
    """The arrays of a request's `TensorProto`s.

    Args:
        inputs: by input name.
        signature_def: `SignatureDef` that they must fit: names, dtypes, ranks and fixed sizes.

    Raises:
        BadTensor: they do not.
    """
    wanted = signature_def.inputs
    extra, missing = sorted(set(inputs) - set(wanted)), sorted(set(wanted) - set(inputs))
    if extra or missing:
        raise BadTensor(
            f"inputs do not match the signature: expected {sorted(wanted)}, got {sorted(inputs)}. "
            f"Sent extra: {extra}. Missing but required: {missing}"
        )
    return {name: _decode(name, inputs[name], wanted[name]) for name in wanted}


def _decode(name: str, tensor, wanted) -> np.ndarray:
    import tensorflow as tf

    try:
        received = tf.dtypes.as_dtype(tensor.dtype)
    except TypeError:
        received = None
    expected = tf.dtypes.as_dtype(wanted.dtype)
    if received != expected:
        got = received.name if received else f"number {tensor.dtype}"
        raise BadTensor(f"input '{name}': expected dtype {expected.name}, got {got}")
    if tensor.tensor_shape.unknown_rank:
        raise BadTensor(f"input '{name}': expected a shape, got unknown rank")
    shape = [dimension.size for dimension in tensor.tensor_shape.dim]
    if not wanted.tensor_shape.unknown_rank:
        sizes = [dimension.size for dimension in wanted.tensor_shape.dim]
        fits = len(shape) == len(sizes) and all(size in (-1, got) for size, got in zip(sizes, shape))
        if not fits:
            raise BadTensor(f"input '{name}': expected shape {[None if s < 0 else s for s in sizes]}, got {shape}")
    if min(shape, default=0) < 0:
        raise BadTensor(f"input '{name}': expected sizes of at least 0, got shape {shape}")
    # Taken once: every look at it copies it out of the message.
    content = tensor.tensor_content
    _check_length(name, tensor, content, expected, math.prod(shape))
    try:
        if content and expected != tf.string:
            return np.frombuffer(content, expected.as_numpy_dtype).reshape(shape)
        return np.asarray(decode(tensor)).reshape(shape)
    except (TypeError, ValueError) as error:
        raise BadTensor(f"input '{name}': the tensor cannot be decoded ({error})") from error


def decode(tensor) -> np.ndarray:
    """The array of a `TensorProto`, in either of its encodings.

    `tf.make_ndarray` knows no strings in tensor_content, which is how TensorFlow Serving sends them if it is told to
    send content.

    Raises:
        TypeError, ValueError: the values are damaged.
    """
    import tensorflow as tf

    if tensor.dtype != tf.string.as_datatype_enum or not tensor.tensor_content:
        return tf.make_ndarray(tensor)
    try:
        return tf.io.parse_tensor(tensor.SerializeToString(), tf.string).numpy()
    except tf.errors.OpError as error:
        raise ValueError(error.message) from error


def encode(array: np.ndarray, tensor) -> None:
    """Writes an array into an empty `TensorProto`; numbers as bytes (tensor_content), many times faster to read.

    `tf.make_tensor_proto` gives the same in a message of its own, which would be copied once more.
    """
    import tensorflow as tf

    if array.dtype.kind not in "fiub":
        tensor.CopyFrom(tf.make_tensor_proto(array))
        return
    tensor.dtype = tf.dtypes.as_dtype(array.dtype).as_datatype_enum
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    tensor.tensor_content = array.tobytes()


def _check_length(name: str, tensor, content: bytes, dtype, elements: int) -> None:
    # A shape costs a few bytes and may claim terabytes; the values must be there before room is made.
    if content and dtype.name == "string":
        # A byte or more for the length of each.
        if elements <= len(content):
            return
        expected, got, what = f"at least {elements}", len(content), "bytes of tensor_content"
    elif content:
        expected, got, what = elements * dtype.size, len(content), "bytes of tensor_content"
    else:
        field = _VALUE_FIELDS.get(dtype.name)
        if field is None:
            raise BadTensor(f"input '{name}': expected dtype {dtype.name} as tensor_content")
        expected, got, what = elements, len(getattr(tensor, field)), f"values in {field}"
        if got == 1 and 0 < elements * max(dtype.size, 1) <= _MOST_FILLED:
            return
    if expected != got:
        raise BadTensor(f"input '{name}': its shape needs {expected} {what}, got {got}")
