"""Memory of a training by number of cases, and its growth from epoch to epoch.

    python -m benchmarks.memory

The command makes and converts phantoms with few and many unlabelled cases in a temporary folder, and trains on each.
The table shows the resident memory in MB after some epochs, and the MB that an epoch of the second half adds.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
import subprocess
import sys
import tempfile
import time

from benchmarks.input_speed import dataset
from semicml_tf import commandline
from semicml_tf.configuration import as_list, check, option
from semicml_tf.errors import UserError

# Epochs in the table, in addition to the last one. The third epoch builds the graph of PReL.
SHOWN = (1, 2, 3, 5, 10, 20, 30)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MemoryConfig:
    """Options of `benchmarks.memory`."""

    cases: tuple[int, ...] = option((10, 200), "Numbers of unlabelled cases, one training for each.", low=1)
    epochs: tuple[int, int] = option((2, 58), "Epochs of the two stages.", low=1)

    def __post_init__(self):
        check(self)


CONFIG = MemoryConfig


def memory(data: pathlib.Path, epochs: tuple[int, int]) -> list[int]:
    """Resident memory of a training in MB after each epoch."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "semicml_tf.train", f"--dataset={data}", f"--output={folder}/run"]
        command += [
            "--window=48",
            "--width=8",
            f"--epochs={as_list(epochs)}",
            "--steps_per_epoch=20",
            "--picture_every=100",
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        status = pathlib.Path(f"/proc/{process.pid}/status")
        seen, history = [], pathlib.Path(folder, "run", "history.csv")
        while process.poll() is None:
            done = len(history.read_text().splitlines()) - 1 if history.exists() else 0
            if done > len(seen):
                held = re.search(r"VmRSS:\s*(\d+)", status.read_text())
                seen += [int(held[1]) // 1024] if held else []
            time.sleep(0.1)
        if process.returncode:
            raise UserError(f"a training failed: {' '.join(command)}", remedy="Run this command to see the reason")
    return seen


def main(config: MemoryConfig) -> None:
    """Measures and prints a Markdown table."""
    with tempfile.TemporaryDirectory() as folder:
        sets = {cases: dataset(pathlib.Path(folder), cases) for cases in config.cases}
        count = sum(config.epochs)
        shown = [number for number in SHOWN if number < count] + [count]
        print(f"| unlabelled cases | {' | '.join(f'epoch {number}' for number in shown)} | a later epoch |")
        print(f"|{'---|' * (len(shown) + 2)}", flush=True)
        for cases, data in sets.items():
            seen = memory(data, config.epochs)
            # The process may end before its memory after the last epoch is read.
            seen += seen[-1:] * (count - len(seen))
            half = seen[count // 2 - 1 :]
            slope = f"{(half[-1] - half[0]) / (len(half) - 1):+.2f}"
            print(f"| {cases} | {' | '.join(str(seen[number - 1]) for number in shown)} | {slope} |", flush=True)


if __name__ == "__main__":
    commandline.run("benchmarks.memory")
