"""Ctrl-C, SIGTERM or a closed terminal during training: the step under way ends, then the state is saved."""

from __future__ import annotations

import os
import signal
import time

from semicml_tf.errors import stop_signals

# A process and its group are often sent one signal each. A person who presses Ctrl-C again means it.
_ONCE_S = 1.0
_NOTE = b"\nstopping after this step, to save the state; Ctrl-C again stops at once and saves nothing\n"


class StopRequest:
    """Notes a signal that asks to stop, while it is entered as a context.

    A second Ctrl-C raises KeyboardInterrupt at once. Further signals of other kinds change nothing: they come from
    programs, which repeat them.

    Attributes:
        asked: whether such a signal came.
        number: of the signal.
    """

    def __init__(self):
        self.asked = False
        self.number, self._asked_at = int(signal.SIGTERM), 0.0
        self._former: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        self._former = {number: signal.signal(number, self._note) for number in stop_signals()}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    @property
    def cause(self) -> str:
        """Why the run ends; of several workers, only some get a signal."""
        return f"stopped by {signal.Signals(self.number).name}" if self.asked else "stopped with the other workers"

    def _note(self, number: int, _) -> None:
        if self.asked:
            if number == signal.SIGINT and time.monotonic() - self._asked_at > _ONCE_S:
                raise KeyboardInterrupt
            return
        self.asked, self.number, self._asked_at = True, number, time.monotonic()
        os.write(2, _NOTE)  # print is not safe in a signal handler
