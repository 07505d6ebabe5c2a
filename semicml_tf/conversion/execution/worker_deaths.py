"""Ends the wait for a local worker that is dead: Beam itself waits for ever for one that the system has killed."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator

from semicml_tf.errors import UserError

_BEAMS_NAME = "run_worker"  # of each thread that waits for the end of a worker's process


class _Died(Exception):
    """A worker's process ended with an error."""


@contextlib.contextmanager
def told() -> Iterator[None]:
    """While Beam works within, the death of a worker is an error.

    The main thread waits within Beam, and nothing but a signal gets it out of there; elsewhere deaths are not told.

    Raises:
        UserError: a worker's process was killed, or crashed.
    """
    main = threading.main_thread()
    if threading.current_thread() is not main:
        yield
        return
    deaths: list[str] = []
    lock, is_over = threading.Lock(), threading.Event()
    former_hook = threading.excepthook

    def hook(told) -> None:
        if told.thread is None or told.thread.name != _BEAMS_NAME:
            former_hook(told)
            return
        with lock:
            deaths.append(str(told.exc_value))
            if len(deaths) == 1 and not is_over.is_set():
                signal.pthread_kill(main.ident, signal.SIGUSR1)

    def end(*_) -> None:
        if not is_over.is_set():
            raise _Died

    former_handler = signal.signal(signal.SIGUSR1, end)
    threading.excepthook = hook
    try:
        yield
    except Exception as error:
        if not deaths:
            raise
        interrupt = _interrupt_behind(error)
        if interrupt is not None:
            raise type(interrupt) from error
        raise UserError(
            f"a worker process ended before its work was done ({deaths[0]})",
            remedy="Most often memory ran out: run again with fewer --workers; what is finished is kept",
        ) from error
    finally:
        is_over.set()
        # Ctrl-C in a terminal ends the workers, too: what Beam's threads have to say of that would come later.
        if not isinstance(sys.exc_info()[1], KeyboardInterrupt):
            threading.excepthook = former_hook
        with lock:  # nobody is between the look at is_over and the signal
            signal.signal(signal.SIGUSR1, former_handler)


def _interrupt_behind(error: BaseException | None) -> KeyboardInterrupt | None:
    """The interrupt that was being dealt with when `error` was raised; None if there was none."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return error
        error = error.__context__
    return None
