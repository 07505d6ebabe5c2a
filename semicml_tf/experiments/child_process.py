"""Becomes another program that is told to end when whoever started it is gone, also where that was killed.

    python -m semicml_tf.experiments.child_process PARENT ARGUMENT ...

runs ``python ARGUMENT ...`` as a child of the process PARENT.

A program of its own, since what a process may safely do between fork and exec is too little for it.
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
    """Does not return. On systems without prctl nothing tells the program; the lock that it inherits still holds."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it was gone before it could be told of
        sys.exit(143)
    os.execv(sys.executable, [sys.executable, *arguments])


if __name__ == "__main__":
    become(int(sys.argv[1]), sys.argv[2:])
