"""Atomic output: files and folders are written beside the target and then renamed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from typing import Any, BinaryIO

from semicml_tf.errors import UserError, printable

# Names of temporary files. An interrupted process leaves them; `clear_left` recognises and removes them.
_SUFFIX = ".tmp"
_STAGED = re.compile(r"\.(.+)\.[a-z0-9_]{8}\.tmp", re.DOTALL)


def short_name(name: str) -> str:
    """A name of at most 40 characters for use within another file name: `name` itself, or its start and a hash."""
    if len(name) <= 40:
        return name
    return f"{name[:31]}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}"


def _staged(path: pathlib.Path) -> str:
    """The prefix of temporary names beside `path`."""
    return f".{short_name(path.name)}."


def new_folder_beside(path: pathlib.Path) -> pathlib.Path:
    """Creates a hidden temporary folder beside `path`; see `clear_left`."""
    return pathlib.Path(tempfile.mkdtemp(prefix=_staged(path), suffix=_SUFFIX, dir=path.parent))


def clear_left(folder: pathlib.Path, name: str | None = None) -> None:
    """Removes temporary files of interrupted processes. The caller must hold the lock of their output.

    Args:
        folder: the folder, without its subfolders.
        name: name of the output; None means all outputs.
    """
    for path in list(folder.iterdir()) if folder.is_dir() else ():
        match = _STAGED.fullmatch(path.name)
        if match and (name is None or match[1] == short_name(name)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def unwritable(path: pathlib.Path, error: OSError) -> UserError:
    """The error for the user if an output cannot be written because of `error`."""
    return UserError(
        f"cannot write here ({error.strerror or error})",
        path=path,
        remedy="Choose an output in a folder that you may write to and that has free space",
    )


def check_writable(path: str | os.PathLike) -> None:
    """Raises UserError if an output file or folder cannot be written. Creates nothing."""
    place = pathlib.Path(path).absolute()
    try:
        is_folder = place.is_dir()
    except OSError as error:  # e.g. a name that is too long
        raise unwritable(pathlib.Path(path), error) from error
    if not is_folder:
        place = next(parent for parent in place.parents if os.path.lexists(parent))
    if not place.is_dir():
        raise unwritable(pathlib.Path(path), OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)))
    if not os.access(place, os.W_OK | os.X_OK):
        raise unwritable(pathlib.Path(path), OSError(errno.EACCES, os.strerror(errno.EACCES)))


def write_file(path: str | os.PathLike, write: Callable[[BinaryIO], Any], *, private: bool = False) -> None:
    """Calls ``write(stream)`` on a temporary file beside `path`, then renames it to `path`.

    Args:
        path: target of the file. Its folder is created if missing.
        write: writes the content.
        private: whether only the owner may read the file (mode 0600).

    Raises:
        UserError: the folder cannot be written to. An existing file at `path` is then unchanged.
    """
    path = pathlib.Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, staged = tempfile.mkstemp(prefix=_staged(path), suffix=_SUFFIX, dir=path.parent)
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        with os.fdopen(descriptor, "wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        if not private:
            # mkstemp makes files private. Outputs get the mode of the user's umask, like any other file.
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(staged, 0o666 & ~mask)
        os.replace(staged, path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(staged)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes `text` as UTF-8 atomically."""
    write_file(path, lambda stream: stream.write(text.encode("utf-8")))


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes `value` as indented JSON atomically. `json_files` reads it.

    Bytes of file names that are not UTF-8 are escaped, as in messages (``\\xfc``), because JSON cannot contain them.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, re.sub("[\ud800-\udfff]", lambda found: "\\" + printable(found[0]), text))


def check_replaceable(folder: pathlib.Path, files: Collection[str]) -> None:
    """Raises UserError if `folder`, which is to be replaced, contains other entries than `files`."""
    others = sorted(item.name for item in folder.iterdir() if item.name not in files) if folder.is_dir() else []
    if others:
        raise UserError(
            f"the output folder holds something else ({others[0]})", path=folder, remedy="Choose another --output"
        )


@contextlib.contextmanager
def new_directory(path: str | os.PathLike, *, overwrite: bool = False) -> Iterator[pathlib.Path]:
    """Yields a temporary folder beside `path`, which is renamed to `path` when the block ends without an error.

    Args:
        path: the new folder.
        overwrite: whether to replace a folder that is not empty.

    Raises:
        UserError: `path` is a file or a folder that is not to be replaced, or cannot be written.
    """
    path = pathlib.Path(path).absolute()
    if path.exists() and not path.is_dir():
        raise UserError("expected a folder, got a file", path=path, remedy="Choose another output")
    if path.is_dir() and any(path.iterdir()) and not overwrite:
        raise UserError("the output folder is not empty", path=path, remedy="Choose another, or pass --overwrite")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staged = new_folder_beside(path)
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        staged.chmod(0o755)
        yield staged
        _replace(staged, path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _replace(staged: pathlib.Path, path: pathlib.Path) -> None:
    """Renames `staged` to `path`. At any moment, `path` is a complete folder or missing."""
    if not path.exists():
        os.rename(staged, path)
        return
    former = new_folder_beside(path)
    os.rename(path, former)
    try:
        os.rename(staged, path)
    except OSError:
        os.rename(former, path)
        raise
    shutil.rmtree(former, ignore_errors=True)
