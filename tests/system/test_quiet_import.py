"""Capturing stderr, also of threads. Each test runs in a process of its own."""

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
        # A UserError is printed by the code that catches it.
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
def test_output_within_the_block_is_captured(body):
    assert _stderr(body) == (0, "")


def test_errors_of_other_threads_are_printed():
    code, printed = _stderr(
        """
        thread = threading.Thread(target=fail, name="ours")
        thread.start()
        with quiet_import.stderr_held_back():
            pass
        failed_by_now(thread)
        """
    )
    assert code == 0 and printed.startswith("Exception in thread ours:\nTraceback")
    assert printed.endswith("within a thread\n")


def test_an_unexpected_error_shows_the_captured_output():
    code, printed = _stderr(
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
    assert printed.index("noise") < printed.index("within a thread") < printed.index("RuntimeError: the block")


def test_tensorflows_warnings_are_not_printed():
    quiet_import.tensorflow()
    assert not logging.getLogger("tensorflow").isEnabledFor(logging.WARNING)
