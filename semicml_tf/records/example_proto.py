"""Writes and reads `tf.train.Example` without TensorFlow, with the same bytes and with less memory.

Protobuf copies megabytes of voxels several times: its serialiser grows its buffer step by step, and its parser copies
into its own memory and then into each value. Hence only numbers are read by protobuf.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

# Protobuf, and therefore TensorFlow, can neither write nor read longer messages.
MOST_BYTES = 2**31 - 1
# Limits for hostile bytes: features of an Example, and bytes of a feature of numbers. Records have 16 numbers at most.
_MOST_FEATURES = 10_000
_MOST_BYTES_OF_NUMBERS = 4096

# A serialised `tensorflow.Feature` in pieces. `serialize` joins all pieces once.
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

    If a name is the start of another one (t1, t1ce), protobuf's implementations disagree on the order. Here the shorter
    name comes first, as in protobuf's pure Python implementation.

    Raises:
        ValueError: the result has more than `MOST_BYTES`.
    """
    pieces: Feature = []
    for name, feature in sorted((key.encode("utf-8"), value) for key, value in features.items()):
        pieces += _field(_FIRST, [*_field(_FIRST, [name]), *_field(_SECOND, feature)])
    whole = _field(_FIRST, pieces)
    if _size(whole) > MOST_BYTES:
        raise ValueError(f"expected at most {MOST_BYTES} bytes, got {_size(whole)}")
    return b"".join(whole)


@functools.cache
def _message_class(name: str):
    """A message class of TensorFlow's example.proto, e.g. `Feature`."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"tensorflow.{name}"))


@functools.cache
def _pool() -> descriptor_pool.DescriptorPool:
    # A pool of its own: if TensorFlow is imported, its messages have these names in the default pool.
    proto = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="tensorflow", syntax="proto3")

    def field(parent, name, number, kind, *, repeated=False, type_name=None, **options):
        label = proto.LABEL_REPEATED if repeated else proto.LABEL_OPTIONAL
        parent.field.add(name=name, number=number, type=kind, label=label, type_name=type_name, **options)

    lists = {"BytesList": proto.TYPE_BYTES, "FloatList": proto.TYPE_FLOAT, "Int64List": proto.TYPE_INT64}
    for name, kind in lists.items():
        field(file.message_type.add(name=name), "value", 1, kind, repeated=True)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (name, kind) in enumerate(zip(("bytes_list", "float_list", "int64_list"), lists), start=1):
        field(feature, name, number, proto.TYPE_MESSAGE, type_name=f".tensorflow.{kind}", oneof_index=0)

    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


class NoExample(ValueError):
    """The bytes are no serialised Example."""


def _length(view: memoryview, place: int) -> tuple[int, int]:
    """The varint at index `place`, and the index after it."""
    value = shift = 0
    while shift < 64:
        if place == len(view):
            raise NoExample("the bytes end within a length")
        byte = view[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
    raise NoExample("a length has more than ten bytes")


def _fields(view: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yields number and content of each field of a message.

    All fields of Example and of its parts, down to the lists of values, are length-delimited.
    """
    place = 0
    while place < len(view):
        tag, place = _length(view, place)
        if tag & 7 != 2:
            raise NoExample(f"expected fields with a length, got wire type {tag & 7}")
        size, place = _length(view, place)
        if size > len(view) - place:
            raise NoExample(f"a field of {size} bytes ends after the end of the message")
        yield tag >> 3, view[place : place + size]
        place += size


def parse(serialized: bytes) -> dict[str, memoryview]:
    """The features of a serialised Example by name, each still serialised: a view into `serialized`, not a copy.

    Raises:
        NoExample: the bytes are no Example.
    """
    features: dict[str, memoryview] = {}
    for number, content in _fields(memoryview(serialized)):
        for inner, entry in _fields(content) if number == 1 else ():
            if inner == 1:
                parts = dict(_fields(entry))
                try:
                    features[str(parts.get(1, b""), "utf-8")] = parts.get(2, memoryview(b""))
                except UnicodeDecodeError as error:
                    raise NoExample("a feature's name is no UTF-8") from error
                if len(features) > _MOST_FEATURES:
                    raise NoExample(f"expected at most {_MOST_FEATURES} features")
    return features


def raw_of(feature: memoryview) -> memoryview:
    """The one byte string of a feature from `parse`.

    Raises:
        ValueError: the feature has not exactly one byte string.
    """
    values = (value for kind, content in _fields(feature) if kind == 1 for number, value in _fields(content))
    first, second = next(values, None), next(values, None)
    if first is None or second is not None:
        raise ValueError(f"expected one byte string, got {0 if first is None else 'several'}")
    return first


def _numbers(feature: memoryview):
    if len(feature) > _MOST_BYTES_OF_NUMBERS:
        raise NoExample(f"expected numbers in at most {_MOST_BYTES_OF_NUMBERS} bytes, got {len(feature)}")
    try:
        return _message_class("Feature").FromString(bytes(feature))
    except message.DecodeError as error:
        raise NoExample(str(error)) from error


def floats_of(feature: memoryview) -> list[float]:
    """The float32 numbers of a feature from `parse`; [] if the feature is of another kind."""
    return list(_numbers(feature).float_list.value)


def ints_of(feature: memoryview) -> list[int]:
    """The int64 numbers of a feature from `parse`; [] if the feature is of another kind."""
    return list(_numbers(feature).int64_list.value)
