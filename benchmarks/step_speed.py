"""A Semi-CML step in slices a second, beside the same step written in PyTorch, with its own U-Net and with MONAI's.

    python -m venv .venv-torch && .venv-torch/bin/pip install torch==2.13.0 monai
    python -m benchmarks.step_speed --torch_python=.venv-torch/bin/python

Both do the same: two U-Nets of these widths, each called once a step on labelled and unlabelled slices together; cross
entropy and Dice on the labelled ones, ASC on the others, Adam, a moving average of each network. Random slices in
memory, all cores of the CPU. Ours is a compiled graph and logs the networks' agreement; PyTorch runs eagerly, with the
fused Adam, in both memory layouts, its networks under autocast where the precision is bfloat16. MONAI's network has the
same widths and more channels in its last convolutions. Competitors stay in memory and take turns, a round each after
another; ratios are those of one round, and their median counts.
"""

from __future__ import annotations

import pathlib
import statistics
import sys

from absl import flags

from benchmarks import sizes
from benchmarks.competitor import Competitor, rounds
from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.system import cpu

OURS = "ours"
PYTORCH = {
    "PyTorch, its layout": ("own", "contiguous"),
    "PyTorch, channels_last": ("own", "channels_last"),
    "MONAI's U-Net, PyTorch's layout": ("monai", "contiguous"),
    "MONAI's U-Net, channels_last": ("monai", "channels_last"),
}


def define_flags(values: flags.FlagValues) -> None:
    """The command's flags."""
    sizes.define(values)
    flags.DEFINE_integer("steps", 5, "Steps in a round.", lower_bound=1, flag_values=values)
    flags.DEFINE_integer("rounds", 7, "Rounds; the median counts.", lower_bound=1, flag_values=values)
    flags.DEFINE_list("precisions", ["float32", "bfloat16"], "Of the features; a table each.", flag_values=values)
    flags.DEFINE_string("torch_python", ".venv-torch/bin/python", "Python with PyTorch and MONAI.", flag_values=values)


def table(values: flags.FlagValues, precision: str) -> None:
    """Times the competitors in one precision."""
    here = pathlib.Path(__file__).parent
    commands = {OURS: [sys.executable, "-m", "benchmarks.step_of_ours", *sizes.words(values), precision]}
    for name, how in PYTORCH.items():
        commands[name] = [values.torch_python, str(here / "step_of_torch.py"), *sizes.words(values), precision, *how]
    competitors = {name: Competitor(command) for name, command in commands.items()}
    seconds = rounds(competitors, values.rounds, values.steps)
    slices = values.labelled + values.unlabelled
    engines = dict.fromkeys(competitor.facts["engine"] for competitor in competitors.values())
    print(
        f"{precision}, {slices} slices of {values.window} x {values.window}, width {values.width}; {', '.join(engines)}"
    )
    print(f"{cpu.described()}")
    print("\n| step | slices/s | ms a step | ours is faster by | parameters |\n|---|---|---|---|---|")
    for name, competitor in competitors.items():
        median = statistics.median(seconds[name])
        ratio = statistics.median(theirs / ours for theirs, ours in zip(seconds[name], seconds[OURS]))
        print(
            f"| {name} | {slices / median:.0f} | {1000 * median:.0f} | {ratio:.2f} | {competitor.facts['parameters']} |"
        )
    print(flush=True)


def main(values: flags.FlagValues) -> None:
    """Runs the command."""
    if not pathlib.Path(values.torch_python).exists():
        raise UserError("no such Python", path=values.torch_python, remedy="Make it as the help says")
    for precision in values.precisions:
        table(values, precision)


if __name__ == "__main__":
    commandline.run("benchmarks.step_speed")
