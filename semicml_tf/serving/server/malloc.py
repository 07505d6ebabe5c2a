"""Buffers of messages are kept by the process when they are freed, rather than given back to the system each time."""

from __future__ import annotations

import ctypes

# Of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
# A batch of slices is 1 to 10 MiB; glibc goes no higher than 32 MiB by itself either.
LARGEST_KEPT = 32 << 20
KEPT_IN_ALL = 256 << 20


def keep_buffers() -> bool:
    """Tells glibc's malloc so; returns whether it took it. Elsewhere nothing is done.

    A call of a few MiB passes through about ten buffers. Mapped anew, each costs a page fault every 4 KiB. What
    is kept is bounded.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, LARGEST_KEPT) and mallopt(_TRIM_THRESHOLD, KEPT_IN_ALL))
