"""Speed of the input pipeline alone, and of training steps on its stream beside steps on batches in memory.

    python -m benchmarks.input_speed
    python -m benchmarks.input_speed --window=32,32,32 --width=8 --labelled=4 --unlabelled=4 --rounds=3

The command makes and converts a phantom in a temporary folder. With a window of three numbers, the stream has patches
and the networks are 3-D. The rows take turns. Each ratio compares two rows of one round; the table shows the median.
Processor milliseconds are summed over the cores: other work on the machine hardly changes them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import pathlib
import statistics
import tempfile
import time

from benchmarks.sizes import StepSizes
from semicml_tf import commandline
from semicml_tf.configuration import check, option
from semicml_tf.geometry.patch import Patch
from semicml_tf.input.augmentation import LEVELS
from semicml_tf.system import cpu, quiet_import

# Batches that the pipeline prepares ahead: a group of windows per stream, and the prefetched batches.
_BUFFERED = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputSpeedConfig(StepSizes):
    """Options of `benchmarks.input_speed`."""

    dataset: str = option(
        "", "Converted dataset, e.g. that of `make demo`. Default: make and convert a phantom.", path=True
    )
    steps: int = option(16, "Steps in a round.", low=1)
    augmentation: tuple[str, ...] = option(
        ("light", "strong"), "Augmentations, as of training; rows for each.", choices=tuple(LEVELS)
    )
    window: int | tuple[int, int, int] = option(
        64, "Side of the slices in pixels; three numbers are the slices, rows and columns of patches.", low=8
    )
    rounds: int = option(11, "Rounds. The table shows their median.", low=1)

    def __post_init__(self):
        check(self)


CONFIG = InputSpeedConfig


def dataset(folder: pathlib.Path, cases: int) -> pathlib.Path:
    """A converted phantom with `cases` unlabelled, 4 labelled, 2 validation cases and 1 test case."""
    total = cases + 7
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        commandline.call(
            "semicml_tf.phantom",
            [f"--output={folder}/ph{cases}", f"--cases={total}", "--labelled=4", "--validation=2", "--test=1"],
        )
        commandline.call(
            "semicml_tf.convert",
            ["--flagfile=configs/demo.flags", f"--input={folder}/ph{cases}", f"--output={folder}/data{cases}"],
        )
    return folder / f"data{cases}"


def speeds(data: pathlib.Path, config: InputSpeedConfig) -> None:
    """Prints the table of speeds."""
    tf = quiet_import.tensorflow()

    from benchmarks.step_of_ours import semi_cml
    from semicml_tf.input.semi_supervised_batches import BatchSettings, batches
    from semicml_tf.input.stream import StreamSettings
    from semicml_tf.records.dataset import DatasetInfo
    from semicml_tf.training.distributed.devices import share_cores, strategy_for
    from semicml_tf.training.step import compiled_step

    info = DatasetInfo.load(data)

    def stream(augmentation: str):
        settings = StreamSettings(info.modalities, Patch(config.window), 0, True, 0.67, LEVELS[augmentation], 0)
        partitions = ("labelled",), ("labelled", "unlabelled")
        return batches(info, BatchSettings(*partitions, config.labelled, config.unlabelled, settings))

    share_cores(len(info.modalities))
    strategy = strategy_for(["cpu:0"])
    with strategy.scope():
        method = semi_cml(info.modalities, config.window, config.width)
    step = compiled_step(method, strategy)
    in_memory = list(itertools.islice(stream(config.augmentation[0]), config.steps))
    for batch in in_memory[:3]:
        float(step(batch)["loss"])

    def read(batch):
        return tf.nest.flatten(batch)[0].shape

    def train(batch):
        float(step(batch)["loss"])

    def fresh(augmentation: str):
        # A new stream for each round does no work during other rows. Its buffered batches are read before the timing.
        source = iter(stream(augmentation))
        for _ in range(_BUFFERED):
            next(source)
        return source

    def timed(call, supply) -> tuple[float, float]:
        begin = time.perf_counter(), time.process_time()
        for _ in range(config.steps):
            call(next(supply))
        wall, processor = time.perf_counter() - begin[0], time.process_time() - begin[1]
        return wall / config.steps, processor / config.steps

    base = "steps on batches in memory"
    rows = {base: lambda: timed(train, iter(in_memory))}
    for level in config.augmentation:
        rows[f"the input pipeline alone, {level}"] = lambda level=level: timed(read, fresh(level))
        rows[f"steps on the stream, {level}"] = lambda level=level: timed(train, fresh(level))
    seconds = {name: [] for name in rows}
    for _ in range(config.rounds):
        for name, measure in rows.items():
            seconds[name].append(measure())
    print(f"{cpu.described()}\n")
    inputs = "slices" if isinstance(config.window, int) else "patches"
    print(f"| what | {inputs}/s | relative to {base} | processor ms a step |\n|{'---|' * 4}")
    for name, times in seconds.items():
        ratio = statistics.median(one / other for (one, _), (other, _) in zip(seconds[base], times))
        wall, processor = (statistics.median(column) for column in zip(*times))
        print(f"| {name} | {config.slices / wall:.0f} | {ratio:.2f} | {1000 * processor:.0f} |")


def main(config: InputSpeedConfig) -> None:
    """Measures and prints a Markdown table."""
    if config.dataset:
        speeds(pathlib.Path(config.dataset), config)
        return
    with tempfile.TemporaryDirectory() as folder:
        speeds(dataset(pathlib.Path(folder), 10), config)


if __name__ == "__main__":
    commandline.run("benchmarks.input_speed")
