"""Arrays from and into tensors of messages; what is not as it must be is refused before memory is taken."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from semicml_tf.serving.bounds import MAX_BYTES, TEXT_OVERHEAD_BYTES, TooLarge

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
    """A tensor is not what it must be: its text says what was expected and what came."""


def decode_inputs(inputs: Mapping[str, Any], signature_def, max_bytes: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """The arrays of a request's `TensorProto`s.

    Args:
        inputs: by input name.
        signature_def: `SignatureDef` that they must fit: names, dtypes, ranks and fixed sizes.
        max_bytes: of all arrays together.

    Raises:
        BadTensor: they do not fit.
        TooLarge: they take more than `max_bytes`.
    """
    import tensorflow as tf

    wanted = signature_def.inputs
    extra, missing = sorted(set(inputs) - set(wanted)), sorted(set(wanted) - set(inputs))
    if extra or missing:
        raise BadTensor(
            f"inputs do not match the signature: expected {sorted(wanted)}, got {sorted(inputs)}. "
            f"Sent extra: {extra}. Missing but required: {missing}"
        )
    total = 0
    for name, expected in wanted.items():
        sizes = None
        if not expected.tensor_shape.unknown_rank:
            sizes = [None if one.size < 0 else one.size for one in expected.tensor_shape.dim]
        what = f"input '{name}'"
        require(what, inputs[name], [tf.dtypes.as_dtype(expected.dtype).name], sizes)
        total += _decoded_bytes(inputs[name])
        if total > max_bytes:
            raise TooLarge("decoded inputs", total, max_bytes)
    return {name: _decode(f"input '{name}'", inputs[name]) for name in wanted}


def require(what: str, tensor, dtypes: Collection[str], sizes: Sequence[int | None] | None) -> None:
    """Compares the type and the shape that a `TensorProto` claims, and the length of its values; decodes nothing.

    Args:
        what: it is, for messages.
        dtypes: names of those that are right.
        sizes: of the right shape; None as a size is any size, None as a whole any shape.

    Raises:
        BadTensor: the tensor differs.
    """
    import tensorflow as tf

    try:
        received = tf.dtypes.as_dtype(tensor.dtype).name
    except TypeError:
        received = f"number {tensor.dtype}"
    if received not in dtypes:
        raise BadTensor(f"{what}: expected dtype {' or '.join(sorted(dtypes))}, got {received}")
    if tensor.tensor_shape.unknown_rank:
        raise BadTensor(f"{what}: expected a shape, got unknown rank")
    shape = [dimension.size for dimension in tensor.tensor_shape.dim]
    if sizes is not None:
        if len(shape) != len(sizes) or any(size not in (None, got) for size, got in zip(sizes, shape)):
            raise BadTensor(f"{what}: expected shape {list(sizes)}, got {shape}")
    if min(shape, default=0) < 0:
        raise BadTensor(f"{what}: expected sizes of at least 0, got shape {shape}")
    _check_length(what, tensor, len(tensor.tensor_content), received, math.prod(shape))


def _decoded_bytes(tensor) -> int:
    """At most so many bytes does the array of a tensor take that `require` has checked."""
    import tensorflow as tf

    elements = math.prod(dimension.size for dimension in tensor.tensor_shape.dim)
    dtype = tf.dtypes.as_dtype(tensor.dtype)
    if dtype != tf.string:
        return elements * dtype.size
    texts = len(tensor.tensor_content) or sum(map(len, tensor.string_val)) * (elements // len(tensor.string_val or "1"))
    return texts + elements * TEXT_OVERHEAD_BYTES


def _decode(what: str, tensor) -> np.ndarray:
    import tensorflow as tf

    dtype = tf.dtypes.as_dtype(tensor.dtype)
    shape = [dimension.size for dimension in tensor.tensor_shape.dim]
    try:
        content = tensor.tensor_content
        if content and dtype != tf.string:
            return np.frombuffer(content, dtype.as_numpy_dtype).reshape(shape)
        if dtype == tf.string and content:
            # `tf.make_ndarray` knows no strings in tensor_content, which is how TensorFlow Serving sends them if it is
            # told to send content.
            return np.asarray(tf.io.parse_tensor(tensor.SerializeToString(), tf.string).numpy()).reshape(shape)
        return np.asarray(tf.make_ndarray(tensor)).reshape(shape)
    except tf.errors.OpError as error:
        raise BadTensor(f"{what}: the tensor cannot be decoded ({error.message})") from error
    except (TypeError, ValueError, OverflowError) as error:
        raise BadTensor(f"{what}: the tensor cannot be decoded ({error})") from error


def decode(
    tensor,
    dtypes: Collection[str] | None = None,
    sizes: Sequence[int | None] | None = None,
    *,
    what: str = "tensor",
    max_bytes: int = MAX_BYTES,
) -> np.ndarray:
    """The array of a `TensorProto` of an answer, in either of its encodings.

    Args:
        dtypes, sizes: see `require`; None takes any.

    Raises:
        BadTensor: the tensor is another one, or damaged.
        TooLarge: the array takes more than `max_bytes`.
    """
    require(what, tensor, _VALUE_FIELDS if dtypes is None else dtypes, sizes)
    if _decoded_bytes(tensor) > max_bytes:
        raise TooLarge(what, _decoded_bytes(tensor), max_bytes)
    return _decode(what, tensor)


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


def _check_length(what: str, tensor, content: int, dtype: str, elements: int) -> None:
    # A shape costs a few bytes and may claim terabytes; the values must be there before room is made.
    import tensorflow as tf

    size = TEXT_OVERHEAD_BYTES if dtype == "string" else tf.dtypes.as_dtype(dtype).size
    if content and dtype == "string":
        # A byte or more for the length of each.
        if elements <= content:
            return
        expected, got, unit = f"at least {elements}", content, "bytes of tensor_content"
    elif content:
        expected, got, unit = elements * size, content, "bytes of tensor_content"
    else:
        field = _VALUE_FIELDS.get(dtype)
        if field is None:
            raise BadTensor(f"{what}: expected dtype {dtype} as tensor_content")
        expected, got, unit = elements, len(getattr(tensor, field)), f"values in {field}"
        if got == 1 and 0 < elements * size <= _MOST_FILLED:
            return
    if expected != got:
        raise BadTensor(f"{what}: its shape needs {expected} {unit}, got {got}")
