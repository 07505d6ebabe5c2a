"""Who started whom on this machine, as Linux tells it."""

from __future__ import annotations

import pathlib


def parent_of(process: int) -> int | None:
    """The parent of a process; None where that cannot be told."""
    try:
        # The command's name, in brackets, may hold anything: what follows its end is the state and the parent.
        return int(pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None


def descendants(process: int) -> list[int]:
    """The processes that it started, and those that these started, from the oldest generation on."""
    parents = {int(path.name): parent_of(int(path.name)) for path in pathlib.Path("/proc").glob("[0-9]*")}
    found, waiting = [], [process]
    while waiting:
        held = [child for child, parent in parents.items() if parent == waiting[0]]
        found, waiting = found + held, waiting[1:] + held
    return found
