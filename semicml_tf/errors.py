"""The one exception that stands for a mistake the user can mend; and being told to end."""

from __future__ import annotations

import os


def first_line(error: BaseException) -> str:
    """What an exception says, without the rest that some add: its first line, or its name where it says nothing."""
    return next(filter(str.strip, str(error).splitlines()), type(error).__name__)


class Terminated(KeyboardInterrupt):
    """SIGTERM came: like Ctrl-C, to be let through."""


class UserError(Exception):
    """A mistake in the input or the settings, shown to the user as one line.

    Args:
        problem: what was expected and what came, e.g. ``"expected 3-D, got shape (4, 4, 4, 2)"``.
        path: the file or folder concerned, if there is one.
        remedy: what to do about it.
        code: what kind of mistake, for programs; one of `conversion.findings.CODES` where verification tells it.
    """

    def __init__(
        self,
        problem: str,
        *,
        path: str | os.PathLike | None = None,
        remedy: str | None = None,
        code: str | None = None,
    ):
        self.problem = problem
        self.code = code
        self.path = None if path is None else os.fspath(path)
        self.remedy = remedy
        super().__init__(self.line)

    @property
    def line(self) -> str:
        """The whole message on one line: ``path: problem. remedy.``"""
        parts = [f"{self.path}: {self.problem}" if self.path else self.problem]
        if self.remedy:
            parts.append(self.remedy)
        text = ". ".join(part.strip().rstrip(".") for part in parts) + "."
        return " ".join(text.split())
