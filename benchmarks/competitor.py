"""Processes that each have a step compiled, and take turns in taking it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from semicml_tf.errors import UserError


class Competitor:
    """A process that has its step compiled, and takes steps when it is told to."""

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

    def _answer(self) -> str:
        line = self._process.stdout.readline()
        if not line:
            raise UserError(f"a competitor ended: {' '.join(self._command)}", remedy="Run this line to see why")
        return line

    def seconds(self, steps: int) -> float:
        """Takes so many steps."""
        self._process.stdin.write(f"{steps}\n")
        self._process.stdin.flush()
        return float(self._answer())

    def end(self) -> None:
        """Lets the process go."""
        self._process.stdin.close()
        self._process.wait()


def rounds(competitors: Mapping[str, Competitor], count: int, steps: int) -> dict[str, list[float]]:
    """Seconds a step in each round, by name; in a round all take so many steps, one after another. Ends them."""
    seconds: dict[str, list[float]] = {name: [] for name in competitors}
    for _ in range(count):
        for name, competitor in competitors.items():
            seconds[name].append(competitor.seconds(steps) / steps)
    for competitor in competitors.values():
        competitor.end()
    return seconds
