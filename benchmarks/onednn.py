"""Speed-up by oneDNN's kernels in training, inference, serving and evaluation, on two kinds of processor.

    python -m benchmarks.onednn

By default, TensorFlow uses oneDNN only on processors with AVX-512. This package always requests oneDNN. Each task runs
with and without oneDNN, in processes that take turns. ONEDNN_MAX_CPU_ISA=AVX2 imitates an older processor: it limits
oneDNN's kernels and no other code. Each ratio compares two processes in one round; the table shows the median.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import pathlib
import statistics
import sys
import tempfile

from benchmarks import input_speed, serving_setup
from benchmarks.competitor import Competitor, rounds
from benchmarks.sizes import StepSizes
from semicml_tf import commandline
from semicml_tf.configuration import check, option

KINDS = {"as it is": {}, "limited to AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2"}}
STEP = "a training step"
TASKS = {
    "inference": f"a volume of {serving_setup.CUBE.title}, in process",
    "serving": f"a volume of {serving_setup.CUBE.title}, by the embedded server",
    "evaluation": "evaluate: 1 patient, 2 networks of width 16",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class OnednnConfig(StepSizes):
    """Options of `benchmarks.onednn`."""

    rounds: int = option(3, "Rounds. The table shows their median.", low=1)
    steps: int = option(4, "Training steps in a round.", low=1)

    def __post_init__(self):
        check(self)


CONFIG = OnednnConfig


def _prepare(folder: pathlib.Path) -> None:
    """Publishes a network, and trains two networks for one step. Their speed does not depend on their weights."""
    serving_setup.published(serving_setup.CUBE, folder / "models")
    dataset = input_speed.dataset(folder, 2)
    arguments = [f"--dataset={dataset}", f"--output={folder / 'run'}", "--width=16", "--window=64", "--epochs=1"]
    arguments += ["--steps_per_epoch=1", "--method=supervised", "--labelled_batch=4", "--unlabelled_batch=0"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        commandline.call("semicml_tf.train", arguments)


def _measured(command: list[str], config: OnednnConfig, repeats: int) -> None:
    """Prints a row per kind of processor."""
    title = TASKS.get(command[1], STEP)
    for kind, limit in KINDS.items():
        ways = {"with": {"TF_ENABLE_ONEDNN_OPTS": "1"}, "without": {"TF_ENABLE_ONEDNN_OPTS": "0"}}
        competitors = {way: Competitor([sys.executable, "-m", *command], limit | own) for way, own in ways.items()}
        seconds = rounds(competitors, config.rounds, repeats)
        ratio = statistics.median(slow / fast for slow, fast in zip(seconds["without"], seconds["with"]))
        fast, slow = (1000 * statistics.median(seconds[way]) for way in ways)
        print(f"| {title} | {kind} | {fast:.0f} | {slow:.0f} | {ratio:.2f} |", flush=True)


def main(config: OnednnConfig) -> None:
    """Measures and prints a Markdown table."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        _prepare(folder)
        print("| task | oneDNN's kernels | ms with | ms without | faster with oneDNN by |\n|---|---|---|---|---|")
        _measured(["benchmarks.step_of_ours", *config.words, "float32"], config, config.steps)
        for task in TASKS:
            _measured(["benchmarks.onednn_task", task, str(folder)], config, 1)


if __name__ == "__main__":
    commandline.run("benchmarks.onednn")
