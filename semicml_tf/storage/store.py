"""Stores of files at URLs: list, read and write whole files, several at the same time."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, Protocol

from semicml_tf.errors import UserError
from semicml_tf.storage import problems
from semicml_tf.storage import url as urls
from semicml_tf.system import progress, quiet_import

# TensorFlow's own file systems; `ram` is for tests.
BY_TENSORFLOW = ("gs", "ram")
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_AT_ONCE = 4  # files that are copied at the same time
_WAIT = {"connect_timeout": 10, "read_timeout": 60}
_RETRIES = {"retries": {"mode": "standard", "max_attempts": 3}}


@dataclasses.dataclass(frozen=True)
class Stat:
    """Properties of a file in a store.

    Attributes:
        size: size in bytes.
        sha256: hash in the file's metadata, written by `Store.upload`; None if there is none.
    """

    size: int
    sha256: str | None


class Store(Protocol):
    """A store of files at URLs. Every method raises UserError, with the endpoint, if the store reports an error."""

    def sizes(self, folder: str) -> dict[str, int]:
        """Size in bytes of each file below `folder`, by its name relative to `folder`; {} if there is no file."""

    def stat(self, url: str) -> Stat | None:
        """Properties of a file; None if it does not exist."""

    def read(self, url: str) -> bytes:
        """The whole content of a file."""

    def download(self, url: str, path: pathlib.Path) -> None:
        """Copies a file to `path`."""

    def upload(self, path: pathlib.Path, url: str, sha256: str) -> None:
        """Copies `path` to a new or existing file, and stores its hash as metadata if the store supports it."""

    def delete(self, url: str) -> None:
        """Removes a file."""


def store_for(url: str) -> Store:
    """The store of `url`.

    Raises:
        UserError: no installed library opens such URLs.
    """
    return TensorFlowStore() if urls.scheme(url) in BY_TENSORFLOW else FsspecStore(urls.scheme(url))


class FsspecStore:
    """fsspec's file systems. For `s3` it is s3fs, which follows the standard variables (AWS_ENDPOINT_URL,
    AWS_PROFILE, AWS_ACCESS_KEY_ID, ...).

    Args:
        scheme: scheme of the URLs, e.g. ``s3``.

    Raises:
        UserError: the library for the scheme is not installed, or its settings are wrong.
    """

    def __init__(self, scheme: str):
        self._is_s3 = scheme in ("s3", "s3a")
        # No caches of instances or listings, because other processes may write at the same time.
        settings = {"skip_instance_cache": True, "use_listings_cache": False}
        if self._is_s3:
            settings["config_kwargs"] = _WAIT | ({} if "AWS_MAX_ATTEMPTS" in os.environ else _RETRIES)
        try:
            import fsspec

            self._files = fsspec.filesystem(scheme, **settings)
        except ImportError as error:
            remedy = 'pip install "semicml-tf[s3]"' if self._is_s3 else f"Install what fsspec needs for {scheme}://"
            raise UserError(f"{scheme}:// needs a library that is not installed ({error})", remedy=remedy) from error
        except ValueError as error:
            raise UserError(
                f"expected a URL that fsspec can open, got {scheme}:// ({error})", remedy="Use s3:// or gs://"
            ) from error

    @contextlib.contextmanager
    def _explained(self, url: str, doing: str) -> Iterator[None]:
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # s3fs raises botocore's exceptions, which have no common base class
            if getattr(error, "errno", None) in _OF_THE_DISK:
                raise
            raise problems.explain(
                error, url, doing=doing, bucket_is_there=self._bucket_is_there(url, error)
            ) from error

    def _bucket_is_there(self, url: str, error: Exception) -> bool | None:
        if not (self._is_s3 and isinstance(error, FileNotFoundError)):
            return None
        try:
            self._files.call_s3("head_bucket", Bucket=urls.bucket(url))
        except FileNotFoundError:
            return False
        except Exception:
            return None
        return True

    def sizes(self, folder: str) -> dict[str, int]:
        with self._explained(folder, "listing"):
            try:
                entries = self._files.find(folder, detail=True)
            except FileNotFoundError:
                if self._is_s3:  # S3 raises this for a missing bucket, not for an empty prefix
                    raise
                return {}
        root = self._files._strip_protocol(folder).rstrip("/") + "/"
        return {name.removeprefix(root): int(entry["size"]) for name, entry in entries.items() if name.startswith(root)}

    def stat(self, url: str) -> Stat | None:
        with self._explained(url, "reading"):
            try:
                if not self._is_s3:
                    entry = self._files.info(url)
                    return Stat(int(entry["size"]), None) if entry["type"] == "file" else None
                place = self._files._strip_protocol(url)
                head = self._files.call_s3("head_object", Bucket=urls.bucket(url), Key=place.partition("/")[2])
                return Stat(int(head["ContentLength"]), head["Metadata"].get("sha256"))
            except FileNotFoundError as error:
                if self._bucket_is_there(url, error) is False:
                    raise
                return None

    def read(self, url: str) -> bytes:
        with self._explained(url, "reading"):
            return self._files.cat_file(url)

    def download(self, url: str, path: pathlib.Path) -> None:
        with self._explained(url, "reading"):
            self._files.get_file(url, str(path))

    def upload(self, path: pathlib.Path, url: str, sha256: str) -> None:
        with self._explained(url, "writing"):
            if not self._is_s3:
                self._files.makedirs(url.rpartition("/")[0], exist_ok=True)
            self._files.put_file(str(path), url, **({"Metadata": {"sha256": sha256}} if self._is_s3 else {}))

    def delete(self, url: str) -> None:
        with self._explained(url, "writing"):
            self._files.rm_file(url)


class TensorFlowStore:
    """TensorFlow's own file systems, e.g. `gs`, with Google's application default credentials."""

    def __init__(self):
        self._tf = quiet_import.tensorflow()
        self._files = self._tf.io.gfile

    @contextlib.contextmanager
    def _explained(self, url: str, doing: str) -> Iterator[None]:
        try:
            yield
        except self._tf.errors.OpError as error:
            raise problems.explain(error, url, doing=doing) from error

    def sizes(self, folder: str) -> dict[str, int]:
        with self._explained(folder, "listing"):
            if not self._files.isdir(folder):
                return {}
            paths = [f"{top}/{name}" for top, _, names in self._files.walk(folder) for name in names]
            return {path.removeprefix(folder).lstrip("/"): self._files.stat(path).length for path in paths}

    def stat(self, url: str) -> Stat | None:
        with self._explained(url, "reading"):
            return Stat(int(self._files.stat(url).length), None) if self._files.exists(url) else None

    def read(self, url: str) -> bytes:
        with self._explained(url, "reading"), self._files.GFile(url, "rb") as stream:
            return stream.read()

    def download(self, url: str, path: pathlib.Path) -> None:
        with self._explained(url, "reading"):
            self._files.copy(url, str(path), overwrite=True)

    def upload(self, path: pathlib.Path, url: str, sha256: str) -> None:
        with self._explained(url, "writing"):
            self._files.makedirs(url.rpartition("/")[0])
            self._files.copy(str(path), url, overwrite=True)

    def delete(self, url: str) -> None:
        with self._explained(url, "writing"):
            self._files.remove(url)


def in_threads(work: Callable[[str], Any], names: Sequence[str], what: str) -> list[tuple[str, Any]]:
    """Calls `work` with each name, on several threads, and shows a progress bar.

    After an error, no further call starts. The error is raised when the running calls have ended.

    Returns:
        Name and result of each call, in the order of the names.
    """
    results = {}
    with (
        ThreadPoolExecutor(_AT_ONCE) as pool,
        progress.bar(total=len(names), desc=what, unit="file", leave=False) as bar,
    ):
        futures = {pool.submit(work, name): name for name in names}
        try:
            for future in as_completed(futures):
                results[futures[future]] = future.result()
                bar.update()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return [(name, results[name]) for name in names]
