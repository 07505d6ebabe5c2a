"""Ctrl-C, SIGTERM or a closed terminal during training: the step under way ends, then the state is saved.

Before the first step of the process has ended there is nothing to save, and training stops at once.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

from semicml_tf.errors import stop_error, stop_signals

# A process and its group are often sent one signal each. A person who presses Ctrl-C again means it.
_ONCE_S = 1.0
_NOTE = b"\nstopping after this step, to save the state; Ctrl-C again stops at once and saves nothing\n"


# Python calls no handler while native code runs, such as the first step.
_NATIVE_S = 3.0


class StopRequest:
    """Notes a signal that asks to stop, while it is entered as a context.

    A second Ctrl-C raises KeyboardInterrupt at once. Further signals of other kinds change nothing: they come from
    programs, which repeat them.

    Args:
        end: called in a thread with a signal that native code keeps from its handler while there is no work to save.
            It ends the process. None waits for the native code.

    Attributes:
        has_work: whether there is something to save. If not, the first signal raises its exception at once.
        asked: whether such a signal came.
        number: of the signal.
    """

    def __init__(self, *, has_work: bool = True, end: Callable[[int], object] | None = None):
        self.has_work, self._end, self._handled, self._wake = has_work, end, threading.Event(), (-1, -1)
        self.asked = False
        self.number, self._asked_at = int(signal.SIGTERM), 0.0
        self._former: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        self._former = {number: signal.signal(number, self._note) for number in stop_signals()}
        if self._end is not None:
            reader, writer = os.pipe()
            os.set_blocking(writer, False)
            self._wake = (writer, signal.set_wakeup_fd(writer, warn_on_full_buffer=False))
            threading.Thread(target=self._watch, args=(reader,), daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        if self._end is not None:
            signal.set_wakeup_fd(self._wake[1])
            os.close(self._wake[0])  # the thread ends
        for number, handler in self._former.items():
            signal.signal(number, handler)

    @property
    def cause(self) -> str:
        """Why the run ends; of several workers, only some get a signal."""
        return f"stopped by {signal.Signals(self.number).name}" if self.asked else "stopped with the other workers"

    def _note(self, number: int, _) -> None:
        if not self.has_work:
            self._handled.set()
            raise stop_error(number)
        if self.asked:
            if number == signal.SIGINT and time.monotonic() - self._asked_at > _ONCE_S:
                raise KeyboardInterrupt
            return
        self.asked, self.number, self._asked_at = True, number, time.monotonic()
        os.write(2, _NOTE)  # print is not safe in a signal handler

    def _watch(self, reader: int) -> None:
        """Ends the process where a signal comes before there is something to save and its handler does not run."""
        with open(reader, "rb", buffering=0) as numbers:
            while number := numbers.read(1):
                if number[0] in self._former and not self._handled.wait(_NATIVE_S) and not self.has_work:
                    self._end(number[0])
