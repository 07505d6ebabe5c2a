"""Recognises paths that are no regular files: folders, named pipes, devices."""

from __future__ import annotations

import os
import stat

_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}


def irregular(path: str | os.PathLike) -> str | None:
    """The kind of `path` in words, e.g. "a folder"; None for a regular file, and for a missing one. Opens nothing.

    Call it before opening a path from outside: opening a named pipe may block, and a device may have no end.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return None
    return None if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "a device")
