"""One run at a time on a metadata store: SQLite would let the second fail in the middle of a write."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import time
from collections.abc import Iterator

from semicml_tf.atomic import unwritable
from semicml_tf.errors import UserError


@contextlib.contextmanager
def held(metadata: pathlib.Path, wait_minutes: float = 0.0) -> Iterator[None]:
    """Holds the lock beside a metadata store; the system lets it go when the process ends, however that comes.

    Args:
        metadata: the SQLite file; ``.NAME.lock`` beside it is locked.
        wait_minutes: how long to wait for another run.

    Raises:
        UserError: another run holds it, or the folder cannot be written to.
    """
    path = metadata.with_name(f".{metadata.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise unwritable(path.parent, error) from error
    deadline, told = time.monotonic() + 60.0 * wait_minutes, False
    with os.fdopen(descriptor, "r+") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                holder = lock.read().strip() or "unknown"
                lock.seek(0)
                if time.monotonic() >= deadline:
                    raise UserError(
                        f"another run (process {holder}) is at work with this metadata store",
                        path=metadata,
                        remedy="Wait until it is done, pass --wait_minutes to wait for it, or choose another --output",
                    ) from error
                if not told:
                    print(f"waiting for the run of process {holder}, which is at work with {metadata}", flush=True)
                    told = True
                time.sleep(0.2)
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield
