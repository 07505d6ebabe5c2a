"""Libraries that print to stderr by themselves: held back, and shown only where something fails."""

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

# Threads that a library left behind; what ends them is no news.
_left_behind: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
_giving_back = threading.Lock()


def _tell_of_thread(arguments) -> None:
    """A `threading.excepthook` that is silent about threads left behind.

    Tells all at once: Python's own writes piece by piece, and its last ones reached stderr after that was given back.
    """
    told = "".join(traceback.format_exception(arguments.exc_type, arguments.exc_value, arguments.exc_traceback))
    with _giving_back:
        if arguments.exc_type is not SystemExit and arguments.thread not in _left_behind:
            name = arguments.thread.name if arguments.thread else threading.get_ident()
            print(f"Exception in thread {name}:\n{told}", end="", file=sys.stderr, flush=True)


@contextlib.contextmanager
def stderr_held_back() -> Iterator[None]:
    """Holds back what this process and those that it starts write to file descriptor 2.

    A command promises that a user's mistake, or Ctrl-C, is the one line on stderr. Should the block fail in another
    way, what was held back is shown. Threads that the block leaves behind fail without a word.
    """
    sys.stderr.flush()
    real = os.dup(2)
    before = set(threading.enumerate())
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _tell_of_thread
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
    # Its warnings, as of functions that are traced again, are about this package's code; users can do nothing.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    return tensorflow
