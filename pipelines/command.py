"""Runs one command of the package as a user would, in a process of its own."""

from __future__ import annotations

import os
import pathlib
import shlex
import subprocess
import sys
import time

from semicml_tf.errors import UserError

_ROOT = pathlib.Path(__file__).parents[1]


def environment() -> dict[str, str]:
    """The environment of child processes: this checkout's modules first, TensorFlow's banner off."""
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def run(module: str, *arguments: str, flagfile: str | None = None) -> float:
    """Runs ``python -m MODULE ARGUMENTS`` and shows the line; returns the seconds it took.

    Raises:
        UserError: the command failed; it has said why.
    """
    words = [sys.executable, "-m", module, *([f"--flagfile={flagfile}"] if flagfile else []), *arguments]
    print("\n$ python " + shlex.join(words[1:]), flush=True)
    begun = time.monotonic()
    code = subprocess.run(words, env=environment(), check=False).returncode
    if code:
        raise UserError(f"{module} failed with exit code {code}", remedy="Its message stands above")
    return time.monotonic() - begun
