"""Captures what libraries print to stderr, and shows it only after an unexpected error."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import threading
import traceback
import weakref
from collections.abc import Iterator

from semicml_tf.errors import UserError

# Threads that were started in a captured block and still run. Their exceptions are not printed.
_left_behind: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
_giving_back = threading.Lock()


def _print_thread_error(arguments) -> None:
    """A `threading.excepthook` that ignores the threads in `_left_behind`.

    Writes the traceback at once. Python's hook writes it in pieces, and the last ones would miss the capture.
    """
    text = "".join(traceback.format_exception(arguments.exc_type, arguments.exc_value, arguments.exc_traceback))
    with _giving_back:
        if arguments.exc_type is not SystemExit and arguments.thread not in _left_behind:
            name = arguments.thread.name if arguments.thread else threading.get_ident()
            print(f"Exception in thread {name}:\n{text}", end="", file=sys.stderr, flush=True)


@contextlib.contextmanager
def stderr_held_back() -> Iterator[None]:
    """Captures what this process and its child processes write to file descriptor 2.

    After a UserError or Ctrl-C, the captured text is dropped: a command then prints one line only. After any other
    exception, the captured text is printed. Exceptions of threads that outlive the block are not printed.
    """
    sys.stderr.flush()
    real = os.dup(2)
    before = set(threading.enumerate())
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _print_thread_error
    with tempfile.TemporaryFile() as held_back:
        os.dup2(held_back.fileno(), 2)
        try:
            yield
        except (UserError, KeyboardInterrupt):
            raise
        except BaseException:
            held_back.seek(0)
            os.write(real, held_back.read())
            raise
        finally:
            with _giving_back:
                _left_behind.update(set(threading.enumerate()) - before)
                os.dup2(real, 2)
            os.close(real)


def tensorflow():
    """`tensorflow`, imported without the banner that its native libraries print.

    TF_CPP_MIN_LOG_LEVEL does not reach what is logged before TensorFlow's logging has started.
    """
    if "tensorflow" in sys.modules:
        import tensorflow
    else:
        with stderr_held_back():
            import tensorflow
    # TensorFlow's warnings, e.g. about retracing, concern this package's code, not its users.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    return tensorflow
