"""Progress bars on stderr: a bar on a terminal, else a line every 30 seconds."""

from __future__ import annotations

import math
import sys
import weakref
from collections.abc import Iterable
from typing import Any, TextIO

EVERY_S = 30.0
_bars: weakref.WeakSet = weakref.WeakSet()


class _Lines:
    """A stream that writes each state of a progress bar as a line of its own, without carriage returns."""

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
    """A `tqdm` bar. If the stream is no terminal, a bar that ends within `EVERY_S` seconds writes nothing.

    Args:
        iterable: see tqdm.
        file: stream to write to; None = stderr.
        by_request: if the stream is no terminal, write lines only when a text is set with ``refresh``.
        options: further arguments of tqdm.
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
    """Closes all open bars, so that the next output starts on a new line."""
    for open_bar in list(_bars):
        open_bar.close()
