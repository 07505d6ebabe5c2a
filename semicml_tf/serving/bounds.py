"""What one call may cost, bounded before memory is taken: its message, its decoded inputs, its answer, its steps.

A few bytes can claim much: a shape, a value that stands for a whole tensor, a message of empty messages.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

# gRPC's own largest message, 2 GiB.
MAX_BYTES = 2**31 - 1
# Fields of a message. Each takes up to a hundred times its two bytes once it is parsed; a request of slices has 20.
MAX_FIELDS = 2**16
# A text of an answer, whose length no signature declares; a manifest has 6,000 bytes.
TEXT_BYTES = 2**16
# What a text of a request takes beside its own bytes.
TEXT_OVERHEAD_BYTES = 64
# Numbers of the inputs that are computed at once: 64 slices of 256 x 256 pixels. The features of a network take a
# hundred times the memory of its inputs. Of a network of many classes, its probabilities count.
STEP_ELEMENTS = 2**22
# Rows that are always computed at once: the default batch of the clients.
STEP_ROWS = 16


class TooLarge(ValueError):
    """A call would take more memory than it may; gRPC's own words for a message that is too large."""

    def __init__(self, what: str, size: int, most: int):
        super().__init__(f"{what} larger than max ({size} vs. {most})")


def check_message(data: bytes, descriptor: Any, max_bytes: int = MAX_BYTES) -> None:
    """Counts the fields of a serialised message before it is parsed.

    Args:
        descriptor: of the message's class. Bytes that are no such message are left to the parser.

    Raises:
        TooLarge: the message has more fields than `MAX_FIELDS`, or its packed numbers take more than `max_bytes`.
    """
    count, unpacked = 0, 0
    parts = [(0, len(data), descriptor)]
    while parts:
        place, end, kind = parts.pop()
        while place < end:
            count += 1
            if count > MAX_FIELDS:
                raise TooLarge("fields of the message", count, MAX_FIELDS)
            tag, place = _varint(data, place, end)
            if tag & 7 == 0:
                _, place = _varint(data, place, end)
            elif tag & 7 == 1:
                place += 8
            elif tag & 7 == 5:
                place += 4
            elif tag & 7 == 2:
                size, place = _varint(data, place, end)
                field = kind.fields_by_number.get(tag >> 3)
                if field is not None and field.message_type is not None:
                    parts.append((place, min(place + size, end), field.message_type))
                elif field is not None:
                    unpacked += size * _growth(field)
                place += size
            # Groups have no length; no message here has one, and each counts as a field.
    if unpacked > max_bytes:
        raise TooLarge("numbers of the message", unpacked, max_bytes)


def _varint(data: bytes, place: int, end: int) -> tuple[int, int]:
    """A number at `place` and the place behind it; `end` as the place where the number is cut off."""
    value = shift = 0
    while place < end and shift < 70:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
    return 0, end


def _growth(field) -> int:
    """Bytes that one byte of a packed field may become."""
    kinds = {
        field.CPPTYPE_INT32: 4,
        field.CPPTYPE_UINT32: 4,
        field.CPPTYPE_ENUM: 4,
        field.CPPTYPE_INT64: 8,
        field.CPPTYPE_UINT64: 8,
    }
    return kinds.get(field.cpp_type, 1)


def rows(signature_def: Any, inputs: Mapping[str, np.ndarray]) -> int | None:
    """How many rows (slices) a call carries, where each input and output of its signature has a free batch axis first.

    Returns:
        None where a tensor of the signature has no such axis.

    Raises:
        ValueError: the inputs differ in their numbers of rows: the graph could repeat the shorter ones.
    """
    shapes = [one.tensor_shape for kind in (signature_def.inputs, signature_def.outputs) for one in kind.values()]
    if not inputs or not all(not one.unknown_rank and one.dim and one.dim[0].size == -1 for one in shapes):
        return None
    lengths = {name: len(value) for name, value in inputs.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"expected inputs of one batch size, got {lengths}")
    return next(iter(lengths.values()))


def answer_bytes(signature_def: Any, count: int | None, names) -> int:
    """At most so many bytes do the named outputs of a call take, as far as its signature declares their sizes."""
    import tensorflow as tf

    total = 0
    for name in names:
        declared = signature_def.outputs[name]
        sizes = [1 if count is None else count] + [max(one.size, 1) for one in declared.tensor_shape.dim[1:]]
        dtype = tf.dtypes.as_dtype(declared.dtype)
        total += math.prod(sizes) * (TEXT_BYTES if dtype == tf.string else dtype.size)
    return total


def channels(signature_def: Any) -> int:
    """The largest size of the last axis of the outputs of slices: how many classes a slice is answered with."""
    shapes = [one.tensor_shape.dim for one in signature_def.outputs.values()]
    return max([dims[-1].size for dims in shapes if len(dims) > 1], default=1)


def steps(inputs: Mapping[str, np.ndarray], count: int | None, classes: int = 1) -> Iterator[Mapping[str, np.ndarray]]:
    """The inputs of a call in parts that are computed one after another.

    Args:
        count: as `rows` returns it; None gives the inputs whole.
        classes: as `channels` returns it: each number of the inputs is answered with so many.
    """
    elements = sum(value.size for value in inputs.values()) * max(classes, 1)
    if not count or elements <= STEP_ELEMENTS:
        yield inputs
        return
    size = max(STEP_ROWS, STEP_ELEMENTS * count // elements)
    for start in range(0, count, size):
        yield {name: value[start : start + size] for name, value in inputs.items()}
