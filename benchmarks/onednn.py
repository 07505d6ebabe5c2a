"""What oneDNN's kernels gain in training, inference, serving and evaluation, on two kinds of processor.

    python -m benchmarks.onednn

TensorFlow uses oneDNN by itself only where the processor has AVX-512; this package always asks for it. Each task runs
with and without oneDNN, as processes that take turns, a round each after another. The older kind of processor is
imitated by ONEDNN_MAX_CPU_ISA=AVX2, which limits oneDNN's kernels and no other code. Ratios are those of one round;
the table shows their median.
"""

from __future__ import annotations

import contextlib
import io
import pathlib
import statistics
import sys
import tempfile

from absl import flags

from benchmarks import input_speed, serving_setup, sizes
from benchmarks.competitor import Competitor, rounds
from semicml_tf import commandline

KINDS = {"as it is": {}, "limited to AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2"}}
STEP = "a training step"
TASKS = {
    "inference": f"a volume of {serving_setup.CUBE.title}, in process",
    "serving": f"a volume of {serving_setup.CUBE.title}, by the embedded server",
    "evaluation": "evaluate: 1 patient, 2 networks of width 16",
}


def define_flags(values: flags.FlagValues) -> None:
    """The command's flags."""
    sizes.define(values)
    flags.DEFINE_integer("rounds", 3, "Rounds; the median counts.", lower_bound=1, flag_values=values)
    flags.DEFINE_integer("steps", 4, "Training steps in a round.", lower_bound=1, flag_values=values)


def _prepare(folder: pathlib.Path) -> None:
    """Publishes a network, and trains two for a step: their speed does not depend on their weights."""
    serving_setup.published(serving_setup.CUBE, folder / "models")
    dataset = input_speed.dataset(folder, 2)
    arguments = [f"--dataset={dataset}", f"--output={folder / 'run'}", "--width=16", "--window=64", "--epochs=1"]
    arguments += ["--steps_per_epoch=1", "--method=supervised", "--labelled_batch=4", "--unlabelled_batch=0"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        commandline.call("semicml_tf.train", arguments)


def _measured(command: list[str], values: flags.FlagValues, repeats: int) -> None:
    """Prints a row per kind of processor."""
    title = TASKS.get(command[1], STEP)
    for kind, limit in KINDS.items():
        ways = {"with": {"TF_ENABLE_ONEDNN_OPTS": "1"}, "without": {"TF_ENABLE_ONEDNN_OPTS": "0"}}
        competitors = {way: Competitor([sys.executable, "-m", *command], limit | own) for way, own in ways.items()}
        seconds = rounds(competitors, values.rounds, repeats)
        ratio = statistics.median(slow / fast for slow, fast in zip(seconds["without"], seconds["with"]))
        fast, slow = (1000 * statistics.median(seconds[way]) for way in ways)
        print(f"| {title} | {kind} | {fast:.0f} | {slow:.0f} | {ratio:.2f} |", flush=True)


def main(values: flags.FlagValues) -> None:
    """Runs the command."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        _prepare(folder)
        print("| task | oneDNN's kernels | ms with | ms without | faster with oneDNN by |\n|---|---|---|---|---|")
        _measured(["benchmarks.step_of_ours", *sizes.words(values), "float32"], values, values.steps)
        for task in TASKS:
            _measured(["benchmarks.onednn_task", task, str(folder)], values, 1)


if __name__ == "__main__":
    commandline.run("benchmarks.onednn")
