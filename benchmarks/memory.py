"""Whether the memory of a training grows with its cases, or from epoch to epoch.

    python -m benchmarks.memory

Phantoms of few and many unlabelled cases are made and converted in a temporary folder, and trained on.
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


def define_flags(values: flags.FlagValues) -> None:
    """The command's flags."""
    flags.DEFINE_list("cases", ["10", "200"], "Unlabelled cases whose memory is compared.", flag_values=values)
    flags.DEFINE_string("epochs", "2,10", "Of the two stages.", flag_values=values)


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
        print("| unlabelled cases | resident MB after each epoch |\n|---|---|", flush=True)
        for cases, data in sets.items():
            print(f"| {cases} | {', '.join(map(str, memory(data, values.epochs)))} |", flush=True)


if __name__ == "__main__":
    commandline.run("benchmarks.memory")
