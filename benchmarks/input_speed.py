"""Whether training waits for its data: the input alone, and steps on the stream beside steps on data in memory.

    python -m benchmarks.input_speed

A phantom is made and converted in a temporary folder. Rounds take turns; ratios are those of one round, and their
median counts.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import pathlib
import statistics
import tempfile
import time

from absl import flags

from benchmarks import sizes
from semicml_tf import commandline
from semicml_tf.system import cpu, quiet_import

# Batches that the pipeline makes ahead: a group of windows of each stream, and what is prefetched.
_BUFFERED = 8


def define_flags(values: flags.FlagValues) -> None:
    """The command's flags."""
    sizes.define(values)
    flags.DEFINE_integer("steps", 16, "Steps in a round.", lower_bound=1, flag_values=values)
    flags.DEFINE_integer("rounds", 11, "Rounds; the median counts.", lower_bound=1, flag_values=values)


def dataset(folder: pathlib.Path, cases: int) -> pathlib.Path:
    """A converted phantom of so many unlabelled cases, 4 labelled and 2 to validate on."""
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


def speeds(data: pathlib.Path, values: flags.FlagValues) -> None:
    """The table of speeds."""
    tf = quiet_import.tensorflow()

    from benchmarks.step_of_ours import semi_cml
    from semicml_tf.input.augment import STANDARD
    from semicml_tf.input.semi_supervised_batches import BatchSettings, batches
    from semicml_tf.input.stream import StreamSettings
    from semicml_tf.records.dataset import DatasetInfo
    from semicml_tf.training.distributed.devices import share_cores, strategy_for
    from semicml_tf.training.step import compiled_step

    info = DatasetInfo.load(data)
    stream = StreamSettings(info.modalities, values.window, 0, True, 0.67, STANDARD, 0)
    how = BatchSettings(("labelled",), ("labelled", "unlabelled"), values.labelled, values.unlabelled, stream)
    share_cores(len(info.modalities))
    strategy = strategy_for(["cpu:0"])
    with strategy.scope():
        method = semi_cml(info.modalities, values.window, values.width)
    step = compiled_step(method, strategy)
    held = list(itertools.islice(batches(info, how), values.steps))
    for batch in held[:3]:
        float(step(batch)["loss"])

    def read(batch):
        return tf.nest.flatten(batch)[0].shape

    def fresh():
        # Opened for a round alone, so that it works for no other row, and read past what it has buffered meanwhile.
        source = iter(batches(info, how))
        for _ in range(_BUFFERED):
            next(source)
        return source

    def timed(call, supply) -> float:
        begin = time.perf_counter()
        for _ in range(values.steps):
            call(next(supply))
        return (time.perf_counter() - begin) / values.steps

    rows = {
        "the input pipeline alone": lambda: timed(read, fresh()),
        "steps on batches in memory": lambda: timed(lambda batch: float(step(batch)["loss"]), iter(held)),
        "steps on the stream": lambda: timed(lambda batch: float(step(batch)["loss"]), fresh()),
    }
    seconds = {name: [] for name in rows}
    for _ in range(values.rounds):
        for name, measure in rows.items():
            seconds[name].append(measure())
    base = seconds["steps on batches in memory"]
    slices = values.labelled + values.unlabelled
    print(f"{cpu.described()}\n")
    print("| what | slices/s | relative to steps on batches in memory |\n|---|---|---|")
    for name, times in seconds.items():
        ratio = statistics.median(one / other for one, other in zip(base, times))
        print(f"| {name} | {slices / statistics.median(times):.0f} | {ratio:.2f} |")


def main(values: flags.FlagValues) -> None:
    """Runs the command."""
    with tempfile.TemporaryDirectory() as folder:
        speeds(dataset(pathlib.Path(folder), 10), values)


if __name__ == "__main__":
    commandline.run("benchmarks.input_speed")
