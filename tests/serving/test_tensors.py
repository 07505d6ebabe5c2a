"""Checks of request tensors against the signature, without a server."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from semicml_tf.serving.tensors import BadTensor, decode, decode_inputs, encode
from tests.support.fake_prediction_server import as_content

SIGNATURE = meta_graph_pb2.SignatureDef()
SIGNATURE.inputs["slices"].dtype = tf.float32.as_datatype_enum
for _size in (-1, 4, 4, 1):
    SIGNATURE.inputs["slices"].tensor_shape.dim.add(size=_size)
VALUES = np.arange(32, dtype=np.float32).reshape(2, 4, 4, 1)


def _as_values():
    tensor = tf.make_tensor_proto(VALUES)
    tensor.ClearField("tensor_content")
    tensor.float_val.extend(VALUES.ravel())
    return tensor


@pytest.mark.parametrize("tensor", [tf.make_tensor_proto(VALUES), _as_values()], ids=["tensor_content", "float_val"])
def test_both_encodings_give_the_array(tensor):
    np.testing.assert_array_equal(decode_inputs({"slices": tensor}, SIGNATURE)["slices"], VALUES)


@pytest.mark.parametrize("texts", [[b""], [b"a", b"", b"x" * 300], [b"\xff" * 20000]])
def test_strings_are_read_in_both_encodings(texts):
    signature = meta_graph_pb2.SignatureDef()
    signature.inputs["texts"].dtype = tf.string.as_datatype_enum
    signature.inputs["texts"].tensor_shape.dim.add(size=-1)
    values = np.array(texts, object)
    for tensor in (tf.make_tensor_proto(values), as_content(values)):
        assert decode(tensor).tolist() == decode_inputs({"texts": tensor}, signature)["texts"].tolist() == texts
    # The encoding is TensorFlow's own: its C++ reads it.
    assert tf.io.parse_tensor(as_content(values).SerializeToString(), tf.string).numpy().tolist() == texts
    torn = as_content(values)
    torn.tensor_content = torn.tensor_content[:-1] or b"\xff"
    many = as_content(values)
    many.tensor_shape.dim[0].size = 1 << 40
    for tensor in (torn, many):
        with pytest.raises(BadTensor):
            decode_inputs({"texts": tensor}, signature)


def test_a_single_value_fills_a_small_tensor():
    np.testing.assert_array_equal(
        decode_inputs({"slices": tf.make_tensor_proto(0.5, shape=(3, 4, 4, 1))}, SIGNATURE)["slices"],
        np.full((3, 4, 4, 1), 0.5, np.float32),
    )
    large = tf.make_tensor_proto(0.5, shape=(3, 4, 4, 1))
    large.tensor_shape.dim[0].size = 1 << 40
    with pytest.raises(BadTensor, match="values in float_val, got 1"):
        decode_inputs({"slices": large}, SIGNATURE)


def test_an_empty_batch_is_accepted():
    assert decode_inputs({"slices": tf.make_tensor_proto(VALUES[:0])}, SIGNATURE)["slices"].shape == (0, 4, 4, 1)


def _changed(change):
    tensor = tensor_pb2.TensorProto()
    tensor.CopyFrom(tf.make_tensor_proto(VALUES))
    change(tensor)
    return tensor


@pytest.mark.parametrize(
    "tensor, message",
    [
        (tf.make_tensor_proto(VALUES.astype(np.float64)), "expected dtype float32, got float64"),
        (_changed(lambda t: setattr(t, "dtype", 4711)), "got number 4711"),
        (tf.make_tensor_proto(VALUES[0]), r"expected shape \[None, 4, 4, 1\], got \[4, 4, 1\]"),
        (tf.make_tensor_proto(VALUES[:, :3]), "expected shape"),
        (_changed(lambda t: setattr(t.tensor_shape, "unknown_rank", True)), "unknown rank"),
        (_changed(lambda t: setattr(t.tensor_shape.dim[0], "size", -1)), "at least 0"),
        (_changed(lambda t: setattr(t, "tensor_content", t.tensor_content[:-1])), "needs 128 bytes .*, got 127"),
        (_changed(lambda t: t.ClearField("tensor_content")), "needs 32 values in float_val, got 0"),
        # 64 bytes on the wire that claim to be 64 TB.
        (_changed(lambda t: setattr(t.tensor_shape.dim[0], "size", 1 << 40)), "needs .* bytes"),
    ],
)
def test_wrong_tensors_are_refused_before_decoding(tensor, message):
    with pytest.raises(BadTensor, match=message):
        decode_inputs({"slices": tensor}, SIGNATURE)


def test_values_of_a_wrong_type_are_not_read_as_zeros():
    tensor = _changed(lambda t: t.ClearField("tensor_content"))
    tensor.int_val.extend([1] * 32)
    with pytest.raises(BadTensor, match="float_val, got 0"):
        decode_inputs({"slices": tensor}, SIGNATURE)


def test_input_names_must_match_the_signature():
    good = tf.make_tensor_proto(VALUES)
    with pytest.raises(BadTensor, match=r"Sent extra: \['other'\]. Missing but required: \[\]"):
        decode_inputs({"slices": good, "other": good}, SIGNATURE)
    with pytest.raises(BadTensor, match=r"Missing but required: \['slices'\]"):
        decode_inputs({}, SIGNATURE)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "int32", "int64", "bool", "bytes"])
@pytest.mark.parametrize("shape", [(2, 3), (1,), (0, 4), ()])
def test_tensorflow_decodes_the_encoded_tensors(dtype, shape):
    values = np.random.default_rng(0).integers(0, 2, shape)
    array = np.full(shape, b"\xfftext", object) if dtype == "bytes" else np.asarray(values, dtype)
    tensor = tensor_pb2.TensorProto()
    # As of a tensor whose axes were turned: bytes go out in the order of the shape all the same.
    encode(np.asarray(array, order="F"), tensor)
    found = tf.make_ndarray(tensor)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)
    if dtype != "bytes" and array.size:
        assert len(tensor.tensor_content) == array.nbytes
