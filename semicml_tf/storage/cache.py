"""The cache: local copies of a remote dataset's shards, which any number of processes can share."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import tempfile
from collections.abc import Iterator, Mapping

from semicml_tf.errors import UserError
from semicml_tf.storage import url as urls
from semicml_tf.storage.store import in_threads, store_for
from semicml_tf.system.digest import sha256

VARIABLE = "SEMICML_TF_CACHE"
_ATTEMPTS = 2
_LOCK = ".lock"


def root(cache_dir: str | os.PathLike | None = None) -> pathlib.Path:
    """The cache's folder: `cache_dir`, else SEMICML_TF_CACHE, else ~/.cache/semicml_tf."""
    given = cache_dir or os.environ.get(VARIABLE)
    if given:
        return pathlib.Path(given).expanduser()
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "semicml_tf"


def folder_of(data_hash: str, cache_dir: str | os.PathLike | None = None) -> pathlib.Path:
    """The folder in the cache for the dataset with this hash."""
    return root(cache_dir) / "datasets" / data_hash


def fetch(url: str, wanted: Mapping[str, str], folder: pathlib.Path) -> list[str]:
    """Fetches files of the dataset at `url` into `folder`. Each file appears only when it is complete and has its hash.

    Existing files with the right hash are kept; damaged ones are fetched again. If two processes fetch at the same
    time, one waits for the other.

    Args:
        url: URL of the dataset's folder.
        wanted: hex SHA-256 by file name.
        folder: local folder.

    Returns:
        Names of the files that were fetched.

    Raises:
        UserError: the store refuses access, a file is missing or has other bytes, or the folder cannot be written to.
    """
    url = urls.folder(url)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder) as alone:
            for left in folder.glob(".*.tfrecord.*") if alone else ():  # by a process that was killed
                left.unlink(missing_ok=True)
            missing = [name for name, digest in sorted(wanted.items()) if not _is_sound(folder / name, digest)]
            if missing:
                store = store_for(url)
                in_threads(lambda name: _fetch_one(store, url, name, wanted[name], folder), missing, "fetching")
    except OSError as error:
        raise UserError(
            f"the cache cannot be written to ({error.strerror or error})",
            path=folder,
            remedy=f"Choose a folder with free space by --cache_dir or {VARIABLE}",
        ) from error
    return missing


def _is_sound(path: pathlib.Path, digest: str) -> bool:
    return path.is_file() and sha256(path) == digest


@contextlib.contextmanager
def _locked(folder: pathlib.Path) -> Iterator[bool]:
    with open(folder / _LOCK, "w") as lock:
        # Some network file systems have no locks. Two processes may then fetch the same file, which costs time but is
        # safe: files appear by renaming.
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            alone = True
        except OSError:
            alone = False
        yield alone  # the kernel releases the lock when the file is closed or the process ends


def _fetch_one(store, url: str, name: str, digest: str, folder: pathlib.Path) -> None:
    for _ in range(_ATTEMPTS):
        handle, staged = tempfile.mkstemp(prefix=f".{name}.", dir=folder)
        os.close(handle)
        try:
            store.download(urls.join(url, name), pathlib.Path(staged))
            if sha256(staged) == digest:
                os.chmod(staged, 0o644)
                os.replace(staged, folder / name)
                return
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(staged)
    raise UserError(
        "this shard's bytes do not have the hash in dataset.json",
        path=urls.join(url, name),
        remedy="Upload the dataset again",
    )
