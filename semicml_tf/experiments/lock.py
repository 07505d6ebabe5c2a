"""One experiment at a time in a folder, also where a killed one left processes behind."""

from __future__ import annotations

import contextlib
import pathlib
import sys
from collections.abc import Iterator

from semicml_tf.errors import UserError
from semicml_tf.system import locks

FILE_NAME = ".experiment.lock"
CHILDREN_FILE_NAME = ".experiment.children.lock"


@contextlib.contextmanager
def held(folder: pathlib.Path, *, patience_s: float = 120.0) -> Iterator[int]:
    """Holds the folder for this process; yields a descriptor that its children are to inherit.

    The system releases the locks with the processes that hold them, whatever ended these: the first with this one,
    the second with the last of its children.

    Args:
        folder: of the experiment; made if need be.
        patience_s: how long to wait for the children of an experiment that was killed; they are ending.

    Raises:
        UserError: another experiment works in it, or such children do not end.
    """

    def busy(holder: str) -> UserError:
        return UserError(
            f"another experiment ({holder}) works in this folder",
            path=folder,
            remedy="Wait for it, end it, or choose another --output",
        )

    def left_running(holder: str) -> UserError:
        return UserError(
            "runs that a killed experiment had begun still work in this folder",
            path=folder,
            remedy="Wait for them to end, or end them",
        )

    def waiting(holder: str) -> None:
        print(f"{folder}: waiting for what a killed experiment left running", file=sys.stderr, flush=True)

    with (
        locks.held(folder / FILE_NAME, busy),
        locks.held(folder / CHILDREN_FILE_NAME, left_running, wait_s=patience_s, waiting=waiting) as children,
    ):
        yield children.descriptor
