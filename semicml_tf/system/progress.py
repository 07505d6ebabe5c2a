"""Progress bars on stderr: a bar on a terminal, whole lines now and then elsewhere."""

from __future__ import annotations

import math
import sys
import weakref
from collections.abc import Iterable
from typing import Any, TextIO

EVERY_S = 30.0
_bars: weakref.WeakSet = weakref.WeakSet()


class _Lines:
    """A stream for a bar: each of its states is a line, instead of a carriage return and the same line again."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> None:
        """Writes a line, unless the text only moves the cursor or clears the bar."""
        if line := text.strip():
            self._stream.write(f"{line}\n")

    def flush(self) -> None:
        """Flushes the stream."""
        self._stream.flush()


def is_terminal(stream: TextIO | None = None) -> bool:
    """Whether a stream, stderr if not given, is a terminal."""
    return bool(getattr(stream or sys.stderr, "isatty", bool)())


def bar(iterable: Iterable | None = None, *, file: TextIO | None = None, by_request: bool = False, **options: Any):
    """A `tqdm` bar with these options. Elsewhere than on a terminal, a bar of less than `EVERY_S` writes nothing.

    Args:
        iterable: as of tqdm.
        file: stream to write to, if not stderr.
        by_request: elsewhere than on a terminal, write a line only where a text is set with ``refresh``.
        options: of tqdm.
    """
    import tqdm

    stream = file or sys.stderr
    if not is_terminal(stream):
        every = math.inf if by_request else EVERY_S
        options |= {"mininterval": every, "delay": every, "miniters": 1, "dynamic_ncols": False}
        stream = _Lines(stream)
    made = tqdm.tqdm(iterable, file=stream, **options)
    _bars.add(made)
    return made


def close_all() -> None:
    """Closes bars that are still shown, so that what is printed next begins a line."""
    for one in list(_bars):
        one.close()
