"""TFRecord files without TensorFlow: written, read from any record on, and searched for damage.

A record is its length (8 bytes, little-endian), the masked CRC-32C of these, the content, and its masked CRC-32C.
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
# google_crc32c falls back to Python, which takes minutes for what its C takes milliseconds for; it then warns itself.
CRC_IS_FAST = google_crc32c.implementation == "c"


class Damage(Exception):
    """A place where a file is not as it was written.

    Attributes:
        record: number of the damaged record in the file, from 0.
        offset: byte at which that record begins.
        reason: what is wrong with it.
        at_header: whether it is its length that cannot be believed.
    """

    def __init__(self, record: int, offset: int, reason: str, *, at_header: bool = False):
        self.record, self.offset, self.reason, self.at_header = record, offset, reason, at_header
        super().__init__(f"record {record} at byte {offset}: {reason}")


class TooShort(Exception):
    """A sound file ends before the record that was asked for."""


@dataclasses.dataclass(frozen=True)
class Record:
    """One record of a file.

    Attributes:
        index: its number, from 0.
        offset: byte at which it begins.
        content: its bytes; None where it is damaged.
        damage: what is wrong with it; None where it is sound.
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
    """Reads a header and leaves the stream at the content, all of which is there.

    Raises:
        Damage: the header is cut off or damaged, or the file ends before the record does.
    """
    header = stream.read(_HEADER.size)
    if len(header) < _HEADER.size:
        reason = f"the file ends within its header, {len(header)} of {_HEADER.size} bytes are there"
        raise Damage(index, offset, reason, at_header=True)
    length, crc = _HEADER.unpack(header)
    if _masked_crc(header[:8]) != crc:
        reason = "its header fails its checksum; nothing behind it can be found"
        raise Damage(index, offset, reason, at_header=True)
    there, expected = size - offset, _HEADER.size + length + _FOOTER.size
    if there < expected:
        raise Damage(index, offset, f"the file ends within it, {there} of {expected} bytes are there")
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
    """Yields every record of an open, seekable file from its start, sound or damaged.

    Behind damaged content it goes on; behind a damaged header, or where the file is cut off, nothing can be found.
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
        Damage: at the first record that is not as it was written.
    """
    for record in scan(stream):
        if record.damage:
            raise record.damage
        yield record.content


def read_one(stream: BinaryIO, index: int) -> bytes:
    """The content of record `index` of an open, seekable file; of those before it the headers alone are read.

    Raises:
        Damage: it, or the header of one before it, is not as it was written.
        TooShort: the file holds fewer records.
    """
    size, offset = _size(stream), stream.seek(0)
    for number in range(index + 1):
        if offset >= size:
            raise TooShort(f"expected a record {index}, got {number} records")
        length = _read_length(stream, number, offset, size)
        if number < index:
            offset = stream.seek(length + _FOOTER.size, os.SEEK_CUR)
    return _read_content(stream, length, index, offset)
