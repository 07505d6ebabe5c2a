"""Starts a program that the system ends when its parent ends, also if the parent is killed.

    python -m semicml_tf.experiments.child_process PARENT ARGUMENT ...

runs ``python ARGUMENT ...`` as a child of the process PARENT.

This is a separate program, because few calls are safe in a process between fork and exec.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1


def become(parent: int, arguments: Sequence[str]) -> None:
    """Replaces this process by the program. Without prctl, the program outlives its parent but keeps the lock."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # the parent ended before prctl took effect
        sys.exit(143)
    os.execv(sys.executable, [sys.executable, *arguments])


if __name__ == "__main__":
    become(int(sys.argv[1]), sys.argv[2:])
