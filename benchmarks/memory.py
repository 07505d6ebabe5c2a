"""Whether the memory of a training grows with its cases, or from epoch to epoch.

    python -m benchmarks.memory

Phantoms of few and many unlabelled cases are made and converted in a temporary folder, and trained on: resident MB
after epochs, and MB that an epoch of the run's second half adds.
"""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys
import tempfile
import time

from absl import flags

from benchmarks.input_speed import dataset
from semicml_tf import commandline
from semicml_tf.errors import UserError

# Epochs whose memory is shown, beside the last one's; PReL's graph is built in the third.
SHOWN = (1, 2, 3, 5, 10, 20, 30)


def define_flags(values: flags.FlagValues) -> None:
    """The command's flags."""
    flags.DEFINE_list("cases", ["10", "200"], "Unlabelled cases whose memory is compared.", flag_values=values)
    flags.DEFINE_string("epochs", "2,58", "Of the two stages.", flag_values=values)


def memory(data: pathlib.Path, epochs: str) -> list[int]:
    """Resident MB of a training after each of its epochs, read from the system."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "semicml_tf.train", f"--dataset={data}", f"--output={folder}/run"]
        command += ["--window=48", "--width=8", f"--epochs={epochs}", "--steps_per_epoch=20", "--picture_every=100"]
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
            raise UserError(f"a training failed: {' '.join(command)}", remedy="Run this line to see why")
    return seen


def main(values: flags.FlagValues) -> None:
    """Runs the command."""
    with tempfile.TemporaryDirectory() as folder:
        sets = {cases: dataset(pathlib.Path(folder), int(cases)) for cases in values.cases}
        count = sum(map(int, values.epochs.split(",")))
        shown = [number for number in SHOWN if number < count] + [count]
        print(f"| unlabelled cases | {' | '.join(f'epoch {number}' for number in shown)} | a later epoch |")
        print(f"|{'---|' * (len(shown) + 2)}", flush=True)
        for cases, data in sets.items():
            seen = memory(data, values.epochs)
            # The last epoch is missed where the process was quicker to end than it was asked.
            seen += seen[-1:] * (count - len(seen))
            half = seen[count // 2 - 1 :]
            slope = f"{(half[-1] - half[0]) / (len(half) - 1):+.2f}"
            print(f"| {cases} | {' | '.join(str(seen[number - 1]) for number in shown)} | {slope} |", flush=True)


if __name__ == "__main__":
    commandline.run("benchmarks.memory")
