"""The one exception that stands for a user's mistake; and how a command is asked to stop."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import re
import signal
import traceback
from collections.abc import Iterator

# Control characters, marks that turn the direction of writing, and bytes of file names that are not UTF-8.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """`text` in one line that a terminal and UTF-8 can take: what they cannot is written as ``\\x1b``."""

    def escaped(found: re.Match) -> str:
        code = ord(found[0])
        if 0xDC80 <= code <= 0xDCFF:  # how Python holds a byte of a file's name that is not UTF-8
            code -= 0xDC00
        return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"

    return _UNPRINTABLE.sub(escaped, text)


def printable_lines(text: str) -> str:
    """As `printable`, of a text of several lines."""
    return "\n".join(map(printable, text.split("\n")))


def first_line(error: BaseException) -> str:
    """What an exception says, without the rest that some add: its first line, or its name where it says nothing."""
    return next(filter(str.strip, str(error).splitlines()), type(error).__name__)


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP came. Like Ctrl-C, it is handled by `commandline.run` alone."""


class Interrupted(KeyboardInterrupt):
    """A command was asked to stop, and has saved its state.

    Args:
        message: what was saved and how to continue, as one sentence or two.
        number: of the signal.
    """

    def __init__(self, message: str, number: int = signal.SIGTERM):
        self.number = number
        super().__init__(message)


def stop_signals() -> tuple[signal.Signals, ...]:
    """The signals that ask a command to stop: Ctrl-C, SIGTERM and a closed terminal, but for those that are ignored.

    ``nohup`` has SIGHUP ignored, and a shell SIGINT for what a script starts in the background.
    """
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    return tuple(number for number in numbers if signal.getsignal(number) != signal.SIG_IGN)


def stop_error(number: int) -> type[KeyboardInterrupt]:
    """The exception that such a signal raises."""
    return KeyboardInterrupt if number == signal.SIGINT else Terminated


@contextlib.contextmanager
def doing(what: str) -> Iterator[None]:
    """Names the work of a block, e.g. ``"reading case P01"``, for `commandline.run` where memory runs out in it.

    The innermost block names it.
    """
    try:
        yield
    except (MemoryError, RecursionError) as error:
        error.doing = getattr(error, "doing", what)
        raise


class UserError(Exception):
    """A mistake in the input or the settings, shown to the user as one line.

    Args:
        problem: what was expected and what came, e.g. ``"expected 3-D, got shape (4, 4, 4, 2)"``.
        path: the file or folder concerned, if there is one.
        remedy: what to do about it.
        code: what kind of mistake, for programs; one of `conversion.verification.findings.CODES` where verification
            reports it.
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
        text = ". ".join(part.strip().rstrip(".") for part in parts)
        text += "" if text.endswith("?") else "."
        return printable(" ".join(text.split()))


def unexpected(error: Exception, log: str | os.PathLike | None = None) -> UserError:
    """What is reported of an exception that no check foresaw: its type and place, in one line.

    Args:
        error: the exception, as it was caught.
        log: file that its traceback is added to, readable by its owner alone; None = none is written.
    """
    if isinstance(error, MemoryError):
        problem = f"there is not enough memory ({first_line(error)})"
        return UserError(problem, remedy="Crop or resample the volume, or give the process more memory")
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {pathlib.Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    remedy = "Check the case's files, and report this as a bug"
    if log is not None:
        with contextlib.suppress(OSError):
            descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace") as stream:
                stream.write("".join(traceback.format_exception(error)) + "\n")
            remedy += f"; the traceback is in {os.fspath(log)}"
    return UserError(f"an unexpected {type(error).__name__}{place} ({first_line(error)})", remedy=remedy)


# What the system refuses. Other errors of the kind OSError are faults of the program, whose traceback is of use.
SYSTEM_REFUSALS = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE,
    errno.ENFILE, errno.ENAMETOOLONG, errno.ESTALE,
)  # fmt: skip


def refused(error: OSError) -> UserError:
    """The line for a file that the system refuses to read or write."""
    return UserError(
        f"the system refused to read or write ({error.strerror}), {_place(error)}",
        path=error.filename,
        remedy="Check its permissions and the free space",
    )


def exhausted(error: MemoryError | RecursionError) -> UserError:
    """The line for memory that ran out, or for data that are nested too deeply."""
    what = getattr(error, "doing", None) or _place(error)
    if isinstance(error, RecursionError):
        return UserError(
            f"the data are nested too deeply, while {what}", remedy="Check the file: no sound one is nested like this"
        )
    size = f" ({first_line(error)})" if str(error) else ""
    return UserError(
        f"not enough memory{size}, while {what}",
        remedy="Check the size of the input, give the process more memory, or use smaller settings",
    )


def _place(error: BaseException) -> str:
    """The innermost function of this package in which an exception was raised."""
    ours = pathlib.Path(__file__).parents[1]
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    for frame in reversed(frames):
        path = pathlib.Path(frame.f_code.co_filename)
        if path.is_relative_to(ours) and "site-packages" not in path.relative_to(ours).parts:
            return f"in {frame.f_code.co_name} of {path.relative_to(ours)}"
    return "starting"
