"""Runs commands and the server of the package in child processes."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from semicml_tf.errors import UserError

_ROOT = pathlib.Path(__file__).parents[1]
_START_SECONDS = 120


def environment() -> dict[str, str]:
    """The environment of child processes, with the modules of this checkout first and TensorFlow's banner off."""
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def run(module: str, *arguments: str, flagfile: str | None = None) -> float:
    """Prints and runs ``python -m MODULE ARGUMENTS``. Returns the duration in seconds.

    Raises:
        UserError: the command failed. It has printed its own message.
    """
    words = [sys.executable, "-m", module, *([f"--flagfile={flagfile}"] if flagfile else []), *arguments]
    print("\n$ python " + shlex.join(words[1:]), flush=True)
    started = time.monotonic()
    code = subprocess.run(words, env=environment(), check=False).returncode
    if code:
        raise UserError(f"{module} failed with exit code {code}", remedy="See its message above")
    return time.monotonic() - started


@contextlib.contextmanager
def served(models: pathlib.Path) -> Iterator[str]:
    """Serves all models of a folder on a free port of this machine. Yields the address; stops the server at the end.

    Raises:
        UserError: the server did not start.
    """
    with tempfile.TemporaryDirectory() as folder:
        port_file = pathlib.Path(folder) / "port"
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "semicml_tf.serving.server",
                f"--models={models}",
                "--port=0",
                f"--port_file={port_file}",
            ],
            env=environment(),
        )
        try:
            deadline = time.monotonic() + _START_SECONDS
            while not (port_file.is_file() and port_file.read_text().strip()):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise UserError("the server did not start", path=models, remedy="See its message above")
                time.sleep(0.1)
            yield f"127.0.0.1:{port_file.read_text().strip()}"
        finally:
            process.terminate()
            process.wait(timeout=30)
