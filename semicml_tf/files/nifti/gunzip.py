"""Reads the bytes of a file in order, unzips gzip files, and never keeps all bytes in memory."""

from __future__ import annotations

import os
import types

from semicml_tf.errors import UserError
from semicml_tf.system import file_kind

GZIP_MAGIC = b"\x1f\x8b"
# Largest ratio of a deflate stream: unzipped bytes per zipped byte.
MOST_GROWTH = 1032

_CHUNK = 1 << 18
_PADDING = 1 << 22  # bytes of 0 that may follow a gzip member
_GZIP = 31  # zlib's window bits for a gzip member with its header and checksum


def _zlib() -> types.ModuleType:
    """The fastest installed module for gunzip."""
    try:
        from isal import isal_zlib
    except ImportError:
        import zlib

        return zlib
    return isal_zlib


class PlainBytes:
    """A file opened for reading. Use it in a ``with`` block.

    A gzip file may have several members, as bgzip writes them. Up to 4 MiB of zero bytes may pad a member. Any other
    bytes after a member are an error, because they may be a damaged member.

    Args:
        path: path of the file.

    Attributes:
        zipped: whether it is a gzip file, by its first bytes and not by its name.
        stored_size: size of the (zipped) file in bytes.
    """

    def __init__(self, path: str | os.PathLike):
        self._path = path
        if kind := file_kind.irregular(path):
            raise UserError(f"expected a file, got {kind}", path=path, remedy="Name the file that is meant")
        try:
            self._stream = open(path, "rb", buffering=0)
            self.stored_size = os.fstat(self._stream.fileno()).st_size
            start = self._stream.read(len(GZIP_MAGIC))
            self._stream.seek(0)
        except OSError as error:
            raise unreadable(path, error) from error
        self.zipped = start == GZIP_MAGIC
        self._library = _zlib() if self.zipped else None
        self._member = self._library.decompressobj(_GZIP) if self.zipped else None
        self._waiting = b""  # zipped bytes that were read and not yet unzipped

    def __enter__(self) -> PlainBytes:
        return self

    def __exit__(self, *_) -> None:
        self._stream.close()

    def readinto(self, view: memoryview) -> int:
        """Fills `view`, a view of bytes.

        Returns:
            The number of bytes written: the size of `view`, or less at the end of the file.

        Raises:
            UserError: the file cannot be read, or its gzip stream is damaged or ends too early.
        """
        done = 0
        while done < len(view):
            if self.zipped:
                part = self._unzip(len(view) - done)
                view[done : done + len(part)] = part
                count = len(part)
            else:
                count = self._read_plain(view[done:])
            if not count:
                break
            done += count
        return done

    def read(self, count: int) -> bytes:
        """The next `count` bytes, or fewer at the end of the file. Raises like `readinto`."""
        content = bytearray(count)
        return bytes(content[: self.readinto(memoryview(content))])

    def skip(self, count: int) -> None:
        """Skips the next `count` bytes, or fewer at the end of the file. Raises like `readinto`."""
        if not self.zipped:
            self._stream.seek(count, os.SEEK_CUR)
            return
        while count > 0:
            part = self._unzip(min(count, _CHUNK))
            if not part:
                return
            count -= len(part)

    def finish(self, most: int) -> bool:
        """Reads a gzip file to its end, to check its checksum.

        Args:
            most: largest number of bytes to unzip.

        Returns:
            Whether the end was reached.
        """
        while self.zipped and (part := self._unzip(_CHUNK)):
            most -= len(part)
            if most < 0:
                return False
        return True

    def _read_plain(self, view: memoryview) -> int:
        try:
            return self._stream.readinto(view)
        except OSError as error:
            raise unreadable(self._path, error) from error

    def _stored(self) -> bytes:
        try:
            return self._stream.read(_CHUNK)
        except OSError as error:
            raise unreadable(self._path, error) from error

    def _unzip(self, most: int) -> bytes:
        """The next bytes, at most `most`; b"" at the end."""
        while self._member is not None:
            if self._member.eof:
                self._next_member()
                continue
            content = self._waiting or self._stored()
            # Also called without content, because the library may still have buffered output.
            part = self._call(content, most)
            self._waiting = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            if part:
                return part
            if not content and not self._member.eof:
                raise self._damaged("it ends too early")
        return b""

    def _next_member(self) -> None:
        """Starts the next gzip member, if there is one."""
        content = self._waiting.lstrip(b"\0")  # members may be padded to whole blocks
        padding = len(self._waiting) - len(content)
        while len(content) < len(GZIP_MAGIC) and (more := self._stored()):
            stripped = (content + more).lstrip(b"\0")
            padding += len(content) + len(more) - len(stripped)
            content = stripped
            if padding > _PADDING:
                raise self._damaged(f"more than {_PADDING} bytes of 0 follow the end of its gzip stream")
        follows = content.startswith(GZIP_MAGIC)
        if content and not follows:
            raise self._damaged("other bytes follow the end of its gzip stream")
        self._member = self._library.decompressobj(_GZIP) if follows else None
        self._waiting = content

    def _call(self, content: bytes, most: int) -> bytes:
        try:
            return self._member.decompress(content, most)
        except (self._library.error, EOFError, ValueError) as error:
            raise self._damaged(str(error)) from error

    def _damaged(self, how: str) -> UserError:
        return UserError(
            f"this gzip file is truncated or damaged ({how})", path=self._path, remedy="Copy or download it again"
        )


def unreadable(path: str | os.PathLike, error: OSError) -> UserError:
    """The error for the user if a file cannot be opened or read."""
    if isinstance(error, FileNotFoundError):
        return UserError("there is no such file", path=path, remedy="Check the path")
    if isinstance(error, IsADirectoryError):
        return UserError("expected a file, got a folder", path=path, remedy="Name the file in it that is meant")
    return UserError(f"cannot be read ({error.strerror or error})", path=path, remedy="Check the file")
