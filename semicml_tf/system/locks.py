"""Lock files, so that an output has one writer. The system releases a lock when its process ends in any way."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pathlib
import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from semicml_tf.errors import UserError
from semicml_tf.system import atomic_files

# The lock file inside a folder that a command fills file by file; `contents` leaves it out.
FILE_NAME = ".lock"
_POLL_S = 0.1
_WITHOUT_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class Held(NamedTuple):
    """A lock that this process holds.

    Attributes:
        descriptor: of the lock file; a child process that inherits it shares the lock.
        is_exclusive: False on a file system without locks, where other processes are not refused.
    """

    descriptor: int
    is_exclusive: bool


@contextlib.contextmanager
def held(
    path: pathlib.Path,
    refusal: Callable[[str], UserError],
    *,
    wait_s: float = 0.0,
    waiting: Callable[[str], None] = lambda holder: None,
    output: pathlib.Path | None = None,
) -> Iterator[Held]:
    """Holds the lock file `path` during the block, and removes it afterwards.

    The library filelock is not used, because it empties the file when it tries to lock it: the holder's name is lost.

    Args:
        path: the lock file. Its folder is created if missing, and finally removed if it is empty.
        refusal: returns the error for a text that names the holder, e.g. "process 71 on node3".
        wait_s: seconds to wait for another holder.
        waiting: called once, with the same text, before waiting.
        output: path in error messages; None = the lock's folder.

    Raises:
        UserError: another process holds the lock, or the file cannot be created.
    """
    deadline, announced = time.monotonic() + wait_s, False
    with contextlib.ExitStack() as stack:
        stack.enter_context(_folder(path.parent, output or path.parent))
        while True:
            descriptor = _opened(path, output or path.parent)
            taken = _take(descriptor)
            if taken is not False and _is_at(descriptor, path):
                break
            holder = _holder(descriptor)
            os.close(descriptor)
            if taken is not False:  # the former holder has just removed the file
                continue
            if time.monotonic() >= deadline:
                raise refusal(holder)
            if not announced:
                waiting(holder)
                announced = True
            time.sleep(_POLL_S)
        stack.callback(os.close, descriptor)  # also if Ctrl-C comes while the file is removed
        try:
            with contextlib.suppress(OSError):  # a full disk: the lock holds without its text
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
            yield Held(descriptor, taken is True)
        finally:
            with contextlib.suppress(OSError):
                if _is_at(descriptor, path):
                    os.unlink(path)


@contextlib.contextmanager
def writing(*outputs: str | os.PathLike) -> Iterator[None]:
    """Keeps other processes from writing the same outputs, each a file or a folder that is renamed into place.

    Partial files of these outputs that a killed process left are removed.

    Raises:
        UserError: another process writes one of them, or its parent folder cannot be written to.
    """
    with contextlib.ExitStack() as stack:
        # In one order, so that two commands never wait for each other.
        for output in sorted({pathlib.Path(output).absolute() for output in outputs}):
            stack.enter_context(_written(output, output.with_name(f".{atomic_files.short_name(output.name)}.lock")))
        yield


@contextlib.contextmanager
def writing_in(folder: str | os.PathLike) -> Iterator[None]:
    """Keeps other processes from writing into `folder`, which this process fills file by file.

    Raises:
        UserError: another process writes into it, or it cannot be written to.
    """
    folder = pathlib.Path(folder).absolute()
    if folder.exists() and not folder.is_dir():
        raise UserError("expected the output to be a folder, got a file", path=folder, remedy="Choose another --output")
    with _written(folder, folder / FILE_NAME):
        yield


def contents(folder: pathlib.Path) -> list[pathlib.Path]:
    """The items of a folder without the lock file, in no order; [] if the folder is missing."""
    return [item for item in folder.iterdir() if item.name != FILE_NAME] if folder.is_dir() else []


@contextlib.contextmanager
def _written(output: pathlib.Path, lock: pathlib.Path) -> Iterator[None]:
    def refusal(holder: str) -> UserError:
        return UserError(
            f"another command ({holder}) is writing this output",
            path=output,
            remedy="Wait for it, end it, or choose another --output",
        )

    with held(lock, refusal, output=output) as ours:
        if ours.is_exclusive:
            atomic_files.clear_left(output.parent, output.name)
        if not ours.is_exclusive:
            text = "this file system has no locks: start one command at a time on this output"
            print(f"warning: {output}: {text}", file=sys.stderr)
        yield


@contextlib.contextmanager
def _folder(folder: pathlib.Path, output: pathlib.Path) -> Iterator[None]:
    """Creates a folder and its parents, and finally removes the new ones that are empty."""
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise atomic_files.unwritable(output, error) from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # not empty, or gone
            for path in created:
                path.rmdir()


def _opened(path: pathlib.Path, output: pathlib.Path) -> int:
    while True:
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except FileNotFoundError:  # another command has just removed its folder
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise atomic_files.unwritable(output, error) from error


def _take(descriptor: int) -> bool | None:
    """Whether the lock was free; None on a file system without locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _WITHOUT_LOCKS:
            return None
        raise
    return True


def _is_at(descriptor: int, path: pathlib.Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _holder(descriptor: int) -> str:
    text = os.pread(descriptor, 300, 0).decode("utf-8", "replace").partition("\n")[0]
    return "".join(filter(str.isprintable, text)) or "a process that has just started"
