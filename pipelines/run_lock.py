"""One run at a time on a metadata store: SQLite would let the second fail in the middle of a write."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator

from semicml_tf.errors import UserError
from semicml_tf.system import locks


@contextlib.contextmanager
def held(metadata: pathlib.Path, wait_minutes: float = 0.0) -> Iterator[None]:
    """Holds the lock beside a metadata store; the system releases it when the process ends, however it ends.

    Args:
        metadata: the SQLite file; ``.NAME.lock`` beside it is locked.
        wait_minutes: how long to wait for another run.

    Raises:
        UserError: another run holds it, or the folder cannot be written to.
    """

    def busy(holder: str) -> UserError:
        return UserError(
            f"another run ({holder}) is at work with this metadata store",
            path=metadata,
            remedy="Wait until it is done, pass --wait_minutes to wait for it, or choose another --output",
        )

    def waiting(holder: str) -> None:
        print(f"waiting for the run of {holder}, which is at work with {metadata}", flush=True)

    lock = metadata.with_name(f".{metadata.name}.lock")
    with locks.held(lock, busy, wait_s=60.0 * wait_minutes, waiting=waiting):
        yield
