"""Every model of a folder served on this machine, for as long as a block runs."""

from __future__ import annotations

import contextlib
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from pipelines.command import environment
from semicml_tf.errors import UserError

_START_SECONDS = 120


@contextlib.contextmanager
def served(models: pathlib.Path) -> Iterator[str]:
    """Starts the embedded server on a free port; yields its address and stops it in the end.

    Raises:
        UserError: the server did not come up.
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
                    raise UserError("the server did not start", path=models, remedy="Its message stands above")
                time.sleep(0.1)
            yield f"127.0.0.1:{port_file.read_text().strip()}"
        finally:
            process.terminate()
            process.wait(timeout=30)
