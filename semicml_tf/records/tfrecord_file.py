"""Writes and reads TFRecord files without TensorFlow, and finds damaged records.

A record is its length (8 bytes, little-endian), the masked CRC-32C of the length, the content, and its masked CRC-32C.
"""

from __future__ import annotations

import dataclasses
import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

import google_crc32c

from semicml_tf.records.example_proto import MOST_BYTES

_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")
# Without its C code, google_crc32c warns and uses Python: minutes instead of milliseconds.
CRC_IS_FAST = google_crc32c.implementation == "c"


class Damage(Exception):
    """A damaged record of a file.

    Attributes:
        record: number of the damaged record in the file, from 0.
        offset: byte at which that record begins.
        reason: what is wrong with it.
        at_header: whether its length is damaged, so that no later record can be found.
    """

    def __init__(self, record: int, offset: int, reason: str, *, at_header: bool = False):
        self.record, self.offset, self.reason, self.at_header = record, offset, reason, at_header
        super().__init__(f"record {record} at byte {offset}: {reason}")


class TooShort(Exception):
    """An undamaged file has fewer records than expected."""


@dataclasses.dataclass(frozen=True)
class Record:
    """One record of a file.

    Attributes:
        index: number of the record, from 0.
        offset: byte at which the record begins.
        content: the record's bytes; None if it is damaged.
        damage: what is wrong with the record; None if it is not damaged.
    """

    index: int
    offset: int
    content: bytes | None
    damage: Damage | None = None


def _masked_crc(content: bytes) -> int:
    crc = google_crc32c.value(content)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def write(stream: BinaryIO, content: bytes) -> None:
    """Appends one record to an open file."""
    length = struct.pack("<Q", len(content))
    stream.write(length + _FOOTER.pack(_masked_crc(length)))
    stream.write(content)
    stream.write(_FOOTER.pack(_masked_crc(content)))


def _size(stream: BinaryIO) -> int:
    place = stream.tell()
    size = stream.seek(0, os.SEEK_END)
    stream.seek(place)
    return size


def _read_length(stream: BinaryIO, index: int, offset: int, size: int) -> int:
    """Reads a header and leaves the stream at the start of the content.

    Raises:
        Damage: the header is truncated or damaged, or the file ends within the record.
    """
    header = stream.read(_HEADER.size)
    if len(header) < _HEADER.size:
        reason = f"the file ends within its header, after {len(header)} of {_HEADER.size} bytes"
        raise Damage(index, offset, reason, at_header=True)
    length, crc = _HEADER.unpack(header)
    if _masked_crc(header[:8]) != crc:
        reason = "its header fails its checksum; later records cannot be found"
        raise Damage(index, offset, reason, at_header=True)
    available, expected = size - offset, _HEADER.size + length + _FOOTER.size
    if available < expected:
        raise Damage(index, offset, f"the file ends within it, after {available} of {expected} bytes")
    if length > MOST_BYTES:
        raise Damage(index, offset, f"it has {length} bytes, expected at most {MOST_BYTES}")
    return length


def _read_content(stream: BinaryIO, length: int, index: int, offset: int) -> bytes:
    content, footer = stream.read(length), stream.read(_FOOTER.size)
    if len(content) < length or len(footer) < _FOOTER.size:  # the file shrank while it was read
        raise Damage(index, offset, "the file ends within it")
    if _masked_crc(content) != _FOOTER.unpack(footer)[0]:
        raise Damage(index, offset, "its content fails its checksum")
    return content


def scan(stream: BinaryIO) -> Iterator[Record]:
    """Yields every record of an open, seekable file from its start, damaged or not.

    Records after damaged content are yielded, too. A damaged header or the end of the file within a record ends the
    iteration.
    """
    size, offset, index = _size(stream), stream.seek(0), 0
    while offset < size:
        try:
            length = _read_length(stream, index, offset, size)
        except Damage as damage:
            yield Record(index, offset, None, damage)
            return
        try:
            yield Record(index, offset, _read_content(stream, length, index, offset))
        except Damage as damage:
            yield Record(index, offset, None, damage)
        offset += _HEADER.size + length + _FOOTER.size
        stream.seek(offset)
        index += 1


def read_all(stream: BinaryIO) -> Iterator[bytes]:
    """Yields the contents of all records of an open, seekable file, one in memory at a time.

    Raises:
        Damage: at the first damaged record.
    """
    for record in scan(stream):
        if record.damage:
            raise record.damage
        yield record.content


def read_one(stream: BinaryIO, index: int) -> bytes:
    """The content of record `index` of an open, seekable file. Of earlier records only the headers are read.

    Raises:
        Damage: the record, or the header of an earlier one, is damaged.
        TooShort: the file has fewer records.
    """
    size, offset = _size(stream), stream.seek(0)
    for number in range(index + 1):
        if offset >= size:
            raise TooShort(f"expected a record {index}, got {number} records")
        length = _read_length(stream, number, offset, size)
        if number < index:
            offset = stream.seek(length + _FOOTER.size, os.SEEK_CUR)
    return _read_content(stream, length, index, offset)
