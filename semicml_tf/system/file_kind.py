"""Paths that exist and are no regular files: folders, named pipes, devices."""

from __future__ import annotations

import os
import stat

_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}


def irregular(path: str | os.PathLike) -> str | None:
    """What `path` is, in words; None of a regular file, and of a path that cannot be followed. Opens nothing.

    Whoever opens a named pipe waits for its writer, and a device may have no end.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return None
    return None if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "a device")
