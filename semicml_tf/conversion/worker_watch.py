"""Ends a worker whose conversion is gone. Importing it is what starts the watch; Beam's local workers do, as a plugin.

Beam starts a local worker through a shell and leaves it waiting for ever where the conversion is killed by SIGKILL.
"""

from __future__ import annotations

import os
import pathlib
import threading
import time

from semicml_tf.conversion.engine import CONVERSION


def _parent_of(process: int) -> int | None:
    """The parent of a process; None where that cannot be told."""
    try:
        # The command's name, in brackets, may hold anything: what follows its end is the state and the parent.
        return int(pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None


def _watch(conversion: int) -> None:
    while conversion in (os.getppid(), _parent_of(os.getppid())):
        time.sleep(1.0)
    os._exit(1)


# Told by the conversion: who looks for it only now may find that it is gone already.
threading.Thread(target=_watch, args=(int(os.environ[CONVERSION]),), daemon=True).start()
