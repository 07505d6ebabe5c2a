"""Commands that run once each, with a log and their processor time, so that a killed benchmark resumes."""

from __future__ import annotations

import contextlib
import os
import pathlib
import resource
import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence

from typing_extensions import TypedDict

from semicml_tf.errors import UserError
from semicml_tf.system import atomic_files, json_files

_FILE = "steps.json"


class Done(TypedDict):
    """A finished step."""

    command: str
    wall_s: float
    processor_s: float


class _File(TypedDict):
    steps: dict[str, Done]


class TimedSteps:
    """The steps of a folder. ``steps.json`` lists the finished ones, and ``STEP.log`` is the output of each.

    Attributes:
        folder: of the list and the logs.
        done: the finished steps by name.

    Raises:
        UserError: the list cannot be read.
    """

    def __init__(self, folder: pathlib.Path):
        self.folder, self.done = folder, {}
        if (folder / _FILE).exists():
            remedy = "Choose another --output"
            self.done = dict(
                json_files.read(folder / _FILE, _File, what="a list of finished steps", remedy=remedy)["steps"]
            )

    def run(self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Runs a command, unless this step is finished.

        Args:
            name: of the step.
            command: program and arguments.
            environment: variables that the command gets besides those of this process.

        Raises:
            UserError: the command failed, or this step was finished by another command.
        """
        line, log = shlex.join(command), self.folder / f"{name}.log"
        if name in self.done:
            if self.done[name]["command"] != line:
                raise UserError(
                    f"the step '{name}' was finished by another command: {self.done[name]['command']}",
                    path=self.folder,
                    remedy="Pass the same options as before, or choose another --output",
                )
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        print(f"{self.folder}: {name}", flush=True)
        clock, processor = time.perf_counter(), _processor_s()
        with open(log, "wb") as stream:
            process = subprocess.Popen(
                command, stdout=stream, stderr=subprocess.STDOUT, env={**os.environ, **(environment or {})}
            )
            try:
                code = process.wait()
            except BaseException:
                process.terminate()
                with contextlib.suppress(KeyboardInterrupt):
                    process.wait()
                raise
        if code:
            raise UserError(
                f"the step '{name}' failed with code {code}", path=log, remedy="Read this log, and repeat the command"
            )
        wall_s, processor_s = time.perf_counter() - clock, _processor_s() - processor
        self.done[name] = {"command": line, "wall_s": round(wall_s, 1), "processor_s": round(processor_s, 1)}
        atomic_files.write_json(self.folder / _FILE, {"steps": self.done})


def _processor_s() -> float:
    """Processor time of all finished children and their children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
