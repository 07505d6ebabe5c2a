"""Libraries that print to stderr by themselves: held back, and shown only where something fails."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

from semicml_tf.errors import UserError


@contextlib.contextmanager
def stderr_held_back() -> Iterator[None]:
    """Holds back what this process and those that it starts write to file descriptor 2.

    A command promises that a user's mistake, or Ctrl-C, is the one line on stderr. Should the block fail in another
    way, what was held back is shown.
    """
    sys.stderr.flush()
    real = os.dup(2)
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
            os.dup2(real, 2)
            os.close(real)


def tensorflow():
    """`tensorflow`, imported without the banner that its native libraries print.

    TF_CPP_MIN_LOG_LEVEL does not reach what is logged before TensorFlow's logging has started.
    """
    if "tensorflow" in sys.modules:
        return sys.modules["tensorflow"]
    with stderr_held_back():
        import tensorflow
    return tensorflow
