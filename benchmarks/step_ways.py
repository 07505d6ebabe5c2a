"""What precision, determinism, XLA, threads and the ways to call the step cost or gain in a Semi-CML step.

    python -m benchmarks.step_ways

Each way is a process with its step compiled; they take turns, a round each after another. Ratios are those of one
round, and their median counts. Small slices, since many a CPU has no float16 convolutions: they take 100 times as long.
"""

from __future__ import annotations

import statistics
import sys

from absl import flags

from benchmarks import sizes
from benchmarks.competitor import Competitor, rounds
from benchmarks.step_of_ours import STEPS_A_CALL
from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.system import cpu

PLAIN = "float32"
# By the flags of semicml_tf.train or the environment that make them: what `step_of_ours` takes, and its environment.
WAYS = {
    PLAIN: (["float32"], {}),
    "`--precision=bfloat16`": (["bfloat16"], {}),
    "`--precision=float16`": (["float16"], {}),
    "`--deterministic`": (["float32", "deterministic"], {}),
    "`--jit_compile`": (["float32", "jit_compile"], {}),
    "`--batch_statistics=each`": (["float32", "each"], {}),
    "`TF_NUM_INTRAOP_THREADS=2`: two threads for each operation": (["float32"], {"TF_NUM_INTRAOP_THREADS": "2"}),
    "`TF_ENABLE_ONEDNN_OPTS=0`: without oneDNN": (["float32"], {"TF_ENABLE_ONEDNN_OPTS": "0"}),
    f"{STEPS_A_CALL} steps a call (Keras: `steps_per_execution`)": (["float32", "several"], {}),
}


def define_flags(values: flags.FlagValues) -> None:
    """The command's flags."""
    sizes.define(values, window=48, width=8, slices=8)
    flags.DEFINE_integer("steps", 2 * STEPS_A_CALL, "Steps in a round.", lower_bound=1, flag_values=values)
    flags.DEFINE_integer("rounds", 3, "Rounds; the median counts.", lower_bound=1, flag_values=values)


def main(values: flags.FlagValues) -> None:
    """Runs the command."""
    if values.steps % STEPS_A_CALL:
        raise UserError(
            f"expected --steps in multiples of {STEPS_A_CALL}, got {values.steps}", remedy="Correct --steps"
        )
    competitors = {
        name: Competitor([sys.executable, "-m", "benchmarks.step_of_ours", *sizes.words(values), *way], environment)
        for name, (way, environment) in WAYS.items()
    }
    seconds = rounds(competitors, values.rounds, values.steps)
    print(f"{cpu.described()}\n")
    print("| step | ms | times as fast as float32 | seconds until it is compiled |\n|---|---|---|---|")
    for name, competitor in competitors.items():
        ratio = statistics.median(plain / own for plain, own in zip(seconds[PLAIN], seconds[name]))
        median = 1000 * statistics.median(seconds[name])
        print(f"| {name} | {median:.0f} | {ratio:.2f} | {competitor.facts['first_step']:.0f} |")


if __name__ == "__main__":
    commandline.run("benchmarks.step_ways")
