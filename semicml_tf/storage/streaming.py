"""Streaming: tf.data reads shards from a store without a local copy.

TensorFlow reads `gs://`. tensorflow-io adds `s3://`, but its native code loads with TensorFlow 2.16 and 2.17 only. With
other versions its import only warns. Hence the scheme must be checked after the import.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.storage import problems
from semicml_tf.storage import url as urls
from semicml_tf.storage.store import BY_TENSORFLOW, store_for
from semicml_tf.system import quiet_import

# Each buffer is one request to the store. TensorFlow's default is 256 KiB.
BUFFER_BYTES = 8 << 20
_SMALL_BUFFER = 1 << 16


def can_stream(scheme: str) -> bool:
    """Whether tf.data can open ``scheme://`` URLs. For ``s3`` with tensorflow-io installed, imports TensorFlow."""
    if scheme == "s3":
        return importlib.util.find_spec("tensorflow_io") is not None and _load_tensorflow_io()
    return scheme in BY_TENSORFLOW


def _load_tensorflow_io() -> bool:
    tf = quiet_import.tensorflow()
    _translate_settings()
    with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(Exception):
        import tensorflow_io  # noqa: F401
    return "s3" in tf.io.gfile.get_registered_schemes()


def _translate_settings() -> None:
    """Sets tensorflow-io's environment variables, which it reads on the first access, from the standard ones."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        os.environ.setdefault("S3_ENDPOINT", endpoint)
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if region:
        os.environ.setdefault("AWS_REGION", region)
    # Multi-part downloads of tensorflow-io would allocate 26 buffers of 50 MB.
    os.environ.setdefault("S3_DISABLE_MULTI_PART_DOWNLOAD", "1")


def prepare(url: str) -> None:
    """Prepares this process for streaming from the store of `url`.

    Raises:
        UserError: the installed libraries cannot stream from it.
    """
    scheme = urls.scheme(url)
    if not can_stream(scheme):
        raise UserError(
            f"{scheme}:// cannot be streamed with the installed libraries",
            path=url,
            remedy='Pass --dataset_access=cache; for s3:// also install "semicml-tf[io]", in an environment of its own',
        )
    if scheme == "s3":
        # tensorflow-io's destructors abort a process that has opened an s3:// URL (exit code 134).
        commandline.leave_without_teardown()


def check(url: str, wanted: Mapping[str, str]) -> None:
    """Checks that the shards exist and, if the store has their hashes as metadata, that these are right.

    The content is not read. Readers check each record's checksum.

    Args:
        url: URL of the dataset's folder.
        wanted: hex SHA-256 by file name.

    Raises:
        UserError: a shard is missing or has another hash in its metadata.
    """
    store = store_for(url)
    for name, digest in sorted(wanted.items()):
        stat = store.stat(urls.join(url, name))
        if stat is None:
            raise UserError("this shard is missing", path=urls.join(url, name), remedy="Upload the dataset again")
        if stat.sha256 not in (None, digest):
            raise UserError(
                "this shard does not have the hash in dataset.json",
                path=urls.join(url, name),
                remedy="Upload the dataset again",
            )


@contextlib.contextmanager
def explained(url: str) -> Iterator[None]:
    """Turns TensorFlow's errors within the block into errors for the user."""
    tf = quiet_import.tensorflow()
    try:
        yield
    except tf.errors.OpError as error:
        raise problems.explain(error, url, doing="reading") from error


def open_binary(url: str) -> BinaryIO:
    """A seekable stream of a file's bytes, read through TensorFlow.

    Raises:
        UserError: the file cannot be read. The stream's methods raise it, too.
    """
    return io.BufferedReader(_Raw(url), _SMALL_BUFFER)


class _Raw(io.RawIOBase):
    """A TensorFlow file with the interface of Python's raw streams."""

    def __init__(self, url: str):
        self._url = url
        with explained(url):
            self._file = quiet_import.tensorflow().io.gfile.GFile(url, "rb")
            self._size = self._file.size()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self._size}[whence]
        with explained(self._url):
            self._file.seek(start + offset)
        return start + offset

    def tell(self) -> int:
        with explained(self._url):
            return self._file.tell()

    def readinto(self, buffer) -> int:
        with explained(self._url):
            content = self._file.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
