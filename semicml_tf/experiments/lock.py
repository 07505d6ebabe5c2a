"""One experiment at a time in a folder, also where a killed one left processes behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import sys
import time
from collections.abc import Iterator

from semicml_tf import atomic
from semicml_tf.errors import UserError

FILE_NAME = ".experiment.lock"
CHILDREN_FILE_NAME = ".experiment.children.lock"


def _lock(path: pathlib.Path, stack: contextlib.ExitStack) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise atomic.unwritable(path.parent, error) from error
    stack.callback(os.close, descriptor)
    return descriptor


def _is_free(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def held(folder: pathlib.Path, *, patience_s: float = 120.0) -> Iterator[int]:
    """Holds the folder for this process; yields a descriptor that its children are to inherit.

    The system takes the locks away with the processes that hold them, whatever these died of: the first with this one,
    the second with the last of its children.

    Args:
        folder: of the experiment; made if need be.
        patience_s: how long to wait for the children of an experiment that was killed, which have been told to end.

    Raises:
        UserError: another experiment works in it, or such children do not end.
    """
    with contextlib.ExitStack() as stack:
        if not _is_free(_lock(folder / FILE_NAME, stack)):
            raise UserError(
                "another experiment works in this folder", path=folder, remedy="Wait for it, or choose another --output"
            )
        children = _lock(folder / CHILDREN_FILE_NAME, stack)
        deadline = time.monotonic() + patience_s
        told = False
        while not _is_free(children):
            if not told:
                print(f"{folder}: waiting for what a killed experiment left running", file=sys.stderr, flush=True)
                told = True
            if time.monotonic() > deadline:
                raise UserError(
                    "runs that a killed experiment had begun still work in this folder",
                    path=folder,
                    remedy="Wait for them to end, or end them",
                )
            time.sleep(0.2)
        yield children
