"""SIGKILL simulated in this process: from the n-th change of the file system on, nothing is changed any more."""

import contextlib
import os
from collections.abc import Iterator

CHANGES = ("replace", "rename", "unlink", "remove", "rmdir", "mkdir")


class Killed(BaseException):
    """Stands for the end of the process; it is raised at each further change, as in blocks that clear up."""


@contextlib.contextmanager
def killed_at(change: int, monkeypatch) -> Iterator[list[str]]:
    """Within it, the change of this number (from 0) and all that follow raise `Killed`; yields what was changed."""
    done: list[str] = []

    def limited(name, act):
        def changed(*arguments, **more):
            if len(done) >= change:
                raise Killed
            done.append(name)
            return act(*arguments, **more)

        return changed

    with monkeypatch.context() as patched:
        for name in CHANGES:
            patched.setattr(os, name, limited(name, getattr(os, name)))
        yield done
