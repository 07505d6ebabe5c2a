"""Importing TensorFlow without the banner that its native libraries print."""

from __future__ import annotations

import os
import sys
import tempfile


def tensorflow():
    """`tensorflow`, imported with the process's stderr (file descriptor 2) held back meanwhile.

    TF_CPP_MIN_LOG_LEVEL does not reach what is logged before TensorFlow's logging has started, and a
    command promises that a user's mistake is the one line on stderr. Should the import fail, what was
    held back is shown.
    """
    if "tensorflow" in sys.modules:
        return sys.modules["tensorflow"]
    sys.stderr.flush()
    real = os.dup(2)
    with tempfile.TemporaryFile() as held_back:
        os.dup2(held_back.fileno(), 2)
        try:
            import tensorflow
        except BaseException:
            held_back.seek(0)
            os.write(real, held_back.read())
            raise
        finally:
            os.dup2(real, 2)
            os.close(real)
    return tensorflow
