"""Speed of a Semi-CML step in slices or patches per second, beside the same step in PyTorch with two U-Nets.

    make .venv-torch/ready
    python -m benchmarks.step_speed --torch_python=.venv-torch/bin/python

All competitors train two U-Nets of the given widths, and call each network once per step on all slices. The losses are
cross entropy and Dice on labelled slices, and ASC on unlabelled slices. Adam and a moving average update the networks.
The slices are random and in memory, and all cores are used. This package compiles the step and logs the networks'
agreement. PyTorch runs eagerly with the fused Adam, in both memory layouts, with autocast for bfloat16. The networks
are this package's U-Net and MONAI's, which has more channels in its last convolutions. With --patch=64,64,64 they are
3-D networks, whose strides are 2 everywhere, and PyTorch's second layout is channels_last_3d. Competitors stay in
memory and take turns. Each ratio compares two competitors in one round; the table shows the median.

With --modality_counts=2,4 the competitors are our steps with two and with four networks; with --class_counts=1,3, our
steps of two networks with one and with three regions.
"""

from __future__ import annotations

import dataclasses
import pathlib
import statistics
import sys
from collections.abc import Mapping, Sequence

from benchmarks.competitor import Competitor, rounds
from benchmarks.sizes import StepSizes, TorchPython, cube_contradictions
from semicml_tf import commandline
from semicml_tf.configuration import as_list, check, option
from semicml_tf.system import cpu

OURS = "ours"
PYTORCH = {
    "PyTorch, its layout": ("own", "contiguous"),
    "PyTorch, channels_last": ("own", "channels_last"),
    "MONAI's U-Net, PyTorch's layout": ("monai", "contiguous"),
    "MONAI's U-Net, channels_last": ("monai", "channels_last"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepSpeedConfig(TorchPython, StepSizes):
    """Options of `benchmarks.step_speed`."""

    steps: int = option(5, "Steps in a round.", low=1)
    rounds: int = option(7, "Rounds. The tables show their median.", low=1)
    precisions: tuple[str, ...] = option(
        ("float32", "bfloat16"), "Types of the features, one table for each.", choices=("float32", "bfloat16")
    )

    patch: tuple[int, ...] = option(
        (), "Slices, rows and columns of patches, for 3-D networks. Each a multiple of 16, and all equal.", low=64
    )
    modality_counts: tuple[str, ...] = option(
        (), "Compare our step with these numbers of modalities, e.g. 2,4, instead of with PyTorch."
    )
    class_counts: tuple[str, ...] = option(
        (), "Compare our step of two modalities with these numbers of regions, e.g. 1,3, instead of with PyTorch."
    )

    def __post_init__(self):
        check(self, self._contradictions())

    def _contradictions(self):
        if self.patch:
            yield from cube_contradictions(self.patch)

    @property
    def words(self) -> list[str]:
        """The sizes as arguments of `step_of_ours` and `step_of_torch`."""
        return [as_list(self.patch), *super().words[1:]] if self.patch else super().words

    @property
    def what(self) -> str:
        """The inputs of a step."""
        count, sides = self.slices, self.patch or (self.window,) * 2
        return f"{count} {'patches' if self.patch else 'slices'} of {' x '.join(map(str, sides))}, width {self.width}"


CONFIG = StepSpeedConfig


def table(config: StepSpeedConfig, precision: str) -> None:
    """Times the competitors in one precision and prints a table."""
    here = pathlib.Path(__file__).parent
    commands = {OURS: [sys.executable, "-m", "benchmarks.step_of_ours", *config.words, precision]}
    for name, how in PYTORCH.items():
        commands[name] = [config.torch_python, str(here / "step_of_torch.py"), *config.words, precision, *how]
    competitors = {name: Competitor(command) for name, command in commands.items()}
    seconds = rounds(competitors, config.rounds, config.steps)
    engines = dict.fromkeys(competitor.facts["engine"] for competitor in competitors.values())
    print(f"{precision}, {config.what}")
    print(f"{', '.join(engines)}; {cpu.described()}")
    inputs = "patches" if config.patch else "slices"
    print(f"\n| step | {inputs}/s | ms a step | ours is faster by | processor ms a step | parameters |\n|{'---|' * 6}")
    for name, competitor in competitors.items():
        median = statistics.median(seconds[name])
        ratio = statistics.median(theirs / ours for theirs, ours in zip(seconds[name], seconds[OURS]))
        facts = f"{1000 * competitor.facts['processor_s']:.0f} | {competitor.facts['parameters']}"
        print(f"| {name} | {config.slices / median:.3g} | {1000 * median:.0f} | {ratio:.2f} | {facts} |")
    print(flush=True)


def table_of_counts(config: StepSpeedConfig, precision: str, what: str, arguments: Mapping[str, Sequence[str]]) -> None:
    """Times our step with different numbers of modalities or classes in one precision and prints a table.

    Args:
        config: of the benchmark.
        precision: type of the features.
        what: name of the first column.
        arguments: of `step_of_ours`, by the number in the first column.
    """
    words = [sys.executable, "-m", "benchmarks.step_of_ours", *config.words, precision]
    competitors = {count: Competitor([*words, *more]) for count, more in arguments.items()}
    seconds = rounds(competitors, config.rounds, config.steps)
    first = next(iter(competitors))
    print(f"{precision}, {config.what}")
    print(f"{cpu.described()}")
    print(f"\n| {what} | ms a step | times that of {first} |\n|---|---|---|")
    for count in competitors:
        ratio = statistics.median(one / base for one, base in zip(seconds[count], seconds[first]))
        print(f"| {count} | {1000 * statistics.median(seconds[count]):.0f} | {ratio:.2f} |")
    print(flush=True)


def main(config: StepSpeedConfig) -> None:
    """Measures and prints a table per precision."""
    counts = {
        "modalities": {count: [count] for count in config.modality_counts},
        "regions": {count: ["2", count] for count in config.class_counts},
    }
    for what, arguments in counts.items():
        for precision in config.precisions if arguments else ():
            table_of_counts(config, precision, what, arguments)
    if any(counts.values()):
        return
    config.require_torch()
    for precision in config.precisions:
        table(config, precision)


if __name__ == "__main__":
    commandline.run("benchmarks.step_speed")
