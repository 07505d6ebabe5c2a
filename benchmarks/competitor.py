"""Processes that each compile one step, and then run it in turns."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from semicml_tf.errors import UserError


class Competitor:
    """A process that compiles its step and then runs as many steps as each line of its input requests."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] = MappingProxyType({})):
        self._process = subprocess.Popen(
            command,
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._command = command
        self.facts = json.loads(self._answer())
        self._steps, self._before = 0, self._processor_s()

    def _answer(self) -> str:
        line = self._process.stdout.readline()
        if not line:
            raise UserError(
                f"a competitor ended: {' '.join(self._command)}", remedy="Run this command to see the reason"
            )
        return line

    def seconds(self, steps: int) -> float:
        """Runs this number of steps and returns their time in seconds."""
        self._process.stdin.write(f"{steps}\n")
        self._process.stdin.flush()
        self._steps += steps
        return float(self._answer())

    def _processor_s(self) -> float:
        """Processor time of the process so far, of all its threads."""
        # After the name in brackets; user and system time are fields 14 and 15.
        fields = pathlib.Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def processor_s_per_step(self) -> float:
        """Processor time of a step, which other processes change less than time by the clock."""
        return (self._processor_s() - self._before) / self._steps

    def end(self) -> None:
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait()


def rounds(competitors: Mapping[str, Competitor], count: int, steps: int) -> dict[str, list[float]]:
    """Seconds per step in each round, by name. In a round, all competitors run `steps` steps in turns. Ends them.

    Each competitor's `facts` then have its processor time per step.
    """
    seconds: dict[str, list[float]] = {name: [] for name in competitors}
    for _ in range(count):
        for name, competitor in competitors.items():
            seconds[name].append(competitor.seconds(steps) / steps)
    for competitor in competitors.values():
        competitor.facts["processor_s"] = competitor.processor_s_per_step
        competitor.end()
    return seconds
