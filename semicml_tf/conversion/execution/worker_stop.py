"""Ends local workers with their conversion when that is asked to stop by a signal to it alone.

Beam waits for a worker that is just starting, and such a one waits for Beam: neither would end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

from semicml_tf.conversion.execution.process_tree import descendants
from semicml_tf.errors import Terminated, stop_error, stop_signals

_AGAIN_S = 0.2  # workers that were being started come into being later
_PATIENCE_S = 10.0


def _end_workers() -> None:
    for process in descendants(os.getpid()):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            os.kill(process, signal.SIGKILL)


@contextlib.contextmanager
def with_us() -> Iterator[None]:
    """While Beam works within, a signal that asks to stop ends its workers before it is raised.

    Does nothing outside the main thread, which alone hears signals.

    Raises:
        KeyboardInterrupt: SIGINT came.
        Terminated: SIGTERM or SIGHUP came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    is_over = threading.Event()
    told: list[type[KeyboardInterrupt]] = []

    def reap(kind: type[KeyboardInterrupt]) -> None:
        for _ in range(int(_PATIENCE_S / _AGAIN_S)):
            _end_workers()
            if is_over.wait(_AGAIN_S):
                return
        os._exit(143 if kind is Terminated else 130)

    def end(number, _) -> None:
        kind = stop_error(number)
        for one in former:
            signal.signal(one, signal.SIG_IGN)  # once is enough
        threading.Thread(target=reap, args=(kind,), daemon=True).start()
        told.append(kind)
        raise kind

    former = {number: signal.signal(number, end) for number in stop_signals()}
    try:
        yield
    except BaseException as error:
        # Where the signal comes within a finalizer, what it raises is lost, and the workers' death is all that is seen.
        if told and not isinstance(error, KeyboardInterrupt):
            raise told[0] from error
        raise
    finally:
        is_over.set()
        for number, handler in former.items():
            signal.signal(number, handler)
