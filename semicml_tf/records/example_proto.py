"""`tf.train.Example` without TensorFlow: the same bytes, from processes that must stay small.

Written by hand, because protobuf's serialiser grows its buffer as it goes and takes many times as long for
megabytes of voxels; read by protobuf, which checks what it is given.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

# Longer messages can be neither written nor read by protobuf, hence by TensorFlow.
MOST_BYTES = 2**31 - 1

# A feature: the pieces of its serialised `tensorflow.Feature`, joined only once, in the whole.
Feature = list

# Tag bytes, (field number << 3 | 2): every field here is length-delimited.
_FIRST, _SECOND, _THIRD = b"\x0a", b"\x12", b"\x1a"


def _varint(value: int) -> bytes:
    value &= 2**64 - 1  # negative numbers take ten bytes, as two's complement
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _size(pieces: Feature) -> int:
    return sum(len(piece) for piece in pieces)


def _field(tag: bytes, pieces: Feature) -> Feature:
    return [tag, _varint(_size(pieces)), *pieces]


def raw(content: bytes | np.ndarray) -> Feature:
    """A feature of one byte string; an array's bytes in C order, not copied."""
    if isinstance(content, np.ndarray):
        content = np.ascontiguousarray(content).reshape(-1).view(np.uint8).data
    return _field(_FIRST, _field(_FIRST, [content]))


def floats(values: Iterable[float]) -> Feature:
    """A feature of float32 numbers."""
    return _field(_SECOND, _field(_FIRST, [np.ravel(values).astype("<f4").tobytes()]))


def ints(values: Iterable[int]) -> Feature:
    """A feature of int64 numbers."""
    return _field(_THIRD, _field(_FIRST, [b"".join(_varint(int(value)) for value in np.ravel(values))]))


def serialize(features: Mapping[str, Feature]) -> bytes:
    """The bytes of ``tf.train.Example(...).SerializeToString(deterministic=True)``, features sorted by name.

    Where one name begins another (t1, t1ce), protobuf's implementations disagree on the order; here, the shorter
    comes first, as in its pure Python one.

    Raises:
        ValueError: they are more than `MOST_BYTES`.
    """
    pieces: Feature = []
    for name, feature in sorted((key.encode("utf-8"), value) for key, value in features.items()):
        pieces += _field(_FIRST, [*_field(_FIRST, [name]), *_field(_SECOND, feature)])
    whole = _field(_FIRST, pieces)
    if _size(whole) > MOST_BYTES:
        raise ValueError(f"expected at most {MOST_BYTES} bytes, got {_size(whole)}")
    return b"".join(whole)


@functools.cache
def example_class():
    """The message class `tensorflow.Example`, in a descriptor pool of its own: TensorFlow may be imported, too."""
    proto = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="tensorflow", syntax="proto3")

    def field(message, name, number, kind, *, repeated=False, type_name=None, **options):
        label = proto.LABEL_REPEATED if repeated else proto.LABEL_OPTIONAL
        message.field.add(name=name, number=number, type=kind, label=label, type_name=type_name, **options)

    lists = {"BytesList": proto.TYPE_BYTES, "FloatList": proto.TYPE_FLOAT, "Int64List": proto.TYPE_INT64}
    for name, kind in lists.items():
        field(file.message_type.add(name=name), "value", 1, kind, repeated=True)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (name, kind) in enumerate(zip(("bytes_list", "float_list", "int64_list"), lists), start=1):
        field(feature, name, number, proto.TYPE_MESSAGE, type_name=f".tensorflow.{kind}", oneof_index=0)
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    field(entry, "key", 1, proto.TYPE_STRING)
    field(entry, "value", 2, proto.TYPE_MESSAGE, type_name=".tensorflow.Feature")
    of_entry = ".tensorflow.Features.FeatureEntry"
    field(features, "feature", 1, proto.TYPE_MESSAGE, repeated=True, type_name=of_entry)
    example = file.message_type.add(name="Example")
    field(example, "features", 1, proto.TYPE_MESSAGE, type_name=".tensorflow.Features")

    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))


def parse(serialized: bytes) -> Mapping:
    """The features of a serialised Example, by name; each has `bytes_list`, `float_list`, `int64_list`.

    Raises:
        google.protobuf.message.DecodeError: the bytes are no Example.
    """
    return example_class().FromString(serialized).features.feature
