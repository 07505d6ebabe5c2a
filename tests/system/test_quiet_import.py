"""What is held back of stderr, also of threads, in a process of its own."""

import logging
import subprocess
import sys
import textwrap

import pytest

from semicml_tf.system import quiet_import

BEGIN = """
import os, sys, threading
from semicml_tf.system import quiet_import
from semicml_tf.errors import UserError

go = threading.Event()

def fail():
    go.wait()
    raise ValueError("within a thread")

def failed_by_now(thread):
    go.set()
    thread.join()
"""


def _stderr(body: str) -> tuple[int, str]:
    program = BEGIN + textwrap.dedent(body)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "body",
    [
        # It fails after stderr was given back.
        """
        with quiet_import.stderr_held_back():
            thread = threading.Thread(target=fail)
            thread.start()
        failed_by_now(thread)
        """,
        # It fails before.
        """
        with quiet_import.stderr_held_back():
            thread = threading.Thread(target=fail)
            thread.start()
            failed_by_now(thread)
        """,
        # A user's mistake is told by who catches it.
        """
        try:
            with quiet_import.stderr_held_back():
                os.write(2, b"noise")
                raise UserError("a mistake")
        except UserError:
            pass
        """,
    ],
)
def test_what_is_held_back(body):
    assert _stderr(body) == (0, "")


def test_threads_of_others_are_heard():
    code, told = _stderr(
        """
        thread = threading.Thread(target=fail, name="ours")
        thread.start()
        with quiet_import.stderr_held_back():
            pass
        failed_by_now(thread)
        """
    )
    assert code == 0 and told.startswith("Exception in thread ours:\nTraceback") and told.endswith("within a thread\n")


def test_a_block_that_fails_shows_what_was_held_back():
    code, told = _stderr(
        """
        with quiet_import.stderr_held_back():
            os.write(2, b"noise\\n")
            thread = threading.Thread(target=fail)
            thread.start()
            failed_by_now(thread)
            raise RuntimeError("the block")
        """
    )
    assert code == 1
    assert told.index("noise") < told.index("within a thread") < told.index("RuntimeError: the block")


def test_tensorflows_warnings_reach_no_user():
    quiet_import.tensorflow()
    assert not logging.getLogger("tensorflow").isEnabledFor(logging.WARNING)
