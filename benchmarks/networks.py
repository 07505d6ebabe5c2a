"""Parameters, processor seconds per step and memory of the networks of the catalogue.

    python -m benchmarks.networks
    python -m benchmarks.networks --window=16,64,64 --labelled=2

Each network takes the steps of the method `supervised` on one modality: forward, loss, gradients, optimiser and moving
average, compiled, in float32. Slices or patches are random and in memory, and all cores are used. The networks stay in
memory, each in a process of its own, and take turns. Processor seconds are summed over the cores: other work on the
machine hardly changes them. Each ratio compares a network with the first one in one round; the table shows the median.
Memory is what the process takes at most beyond what TensorFlow takes by itself.
"""

from __future__ import annotations

import dataclasses
import resource
import statistics
import sys
import time

import numpy as np

from benchmarks.competitor import Competitor, rounds
from benchmarks.on_request import repeat_on_request
from semicml_tf import commandline
from semicml_tf.configuration import check, option
from semicml_tf.networks.catalogue import NETWORKS
from semicml_tf.networks.spec import spatial_of
from semicml_tf.system import cpu, quiet_import

_MIB = 2**20


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworksConfig:
    """Options of `benchmarks.networks`."""

    networks: tuple[str, ...] = option((), "Networks. Default: all that the window fits.", choices=tuple(NETWORKS))
    window: int | tuple[int, int, int] = option(
        64, "Side of the slices in pixels; three numbers are the slices, rows and columns of patches.", low=4
    )
    spacing_mm: tuple[float, float, float] = option((3.0, 1.0, 1.0), "Spacing of the patches' voxels.", above=0.0)
    width: int = option(16, "Channels of the networks' first level.", low=1)
    labelled: int = option(16, "Slices or patches per step.", low=2)
    steps: int = option(3, "Steps in a round.", low=1)
    rounds: int = option(5, "Rounds. The table shows their median.", low=1)
    worker: bool = option(False, "Be the process of the one network: run as many steps as each line of the input asks.")

    def __post_init__(self):
        check(self)


CONFIG = NetworksConfig


def main(config: NetworksConfig) -> None:
    """Measures and prints a table."""
    if config.worker:
        _work(config)
        return
    spatial = spatial_of(config.window)
    names = config.networks or [name for name, entry in NETWORKS.items() if len(spatial) in entry.dimensions]
    sizes = [f"--window={','.join(map(str, spatial))}" if len(spatial) == 3 else f"--window={config.window}"]
    sizes += [f"--{name}={getattr(config, name)}" for name in ("width", "labelled")]
    sizes += [f"--spacing_mm={','.join(map(str, config.spacing_mm))}", "--worker"]
    command = [sys.executable, "-m", "benchmarks.networks"]
    competitors = {name: Competitor([*command, f"--networks={name}", *sizes]) for name in names}
    facts = {name: competitor.facts for name, competitor in competitors.items()}
    seconds = rounds(competitors, config.rounds, config.steps)
    print(f"{config.labelled} of {' x '.join(map(str, spatial))} per step, width {config.width}; {cpu.described()}")
    print("\n| network | parameters | processor s per step | times the first | MiB |\n|---|---|---|---|---|")
    for name in names:
        ratio = statistics.median(one / first for one, first in zip(seconds[name], seconds[names[0]]))
        middle, known = statistics.median(seconds[name]), facts[name]
        print(f"| `{name}` | {known['parameters']:,} | {middle:.2f} | {ratio:.2f} | {known['mib']:.0f} |")


def _work(config: NetworksConfig) -> None:
    tf = quiet_import.tensorflow()

    from semicml_tf.methods import catalogue
    from semicml_tf.methods.catalogue import MethodSettings
    from semicml_tf.methods.schedule import StagePlan
    from semicml_tf.networks import catalogue as networks
    from semicml_tf.training.distributed.devices import share_cores, strategy_for
    from semicml_tf.training.step import compiled_step

    share_cores(1)
    strategy = strategy_for(["cpu:0"])
    before = _peak_bytes()
    spec = networks.specification(
        config.networks[0], window=config.window, width=config.width, spacing_mm=config.spacing_mm
    )
    plan = StagePlan(steps=100_000, first_step=0, steps_per_epoch=100)
    with strategy.scope():
        method = catalogue.stage_class("supervised")(
            ("ct",), lambda name: networks.build(spec, name=name), MethodSettings(), plan, {}
        )
    images = np.random.default_rng(0).normal(size=(config.labelled, *spec.spatial, 1)).astype(np.float32)
    numbers = np.arange(config.labelled, dtype=np.int32)
    stream = {"image": {"ct": images}, "label": np.float32(images > 1), "patient": numbers, "seed": numbers}
    data = tf.nest.map_structure(tf.constant, {"labelled": stream})
    step = compiled_step(method, strategy)
    for _ in range(2):
        float(step(data)["loss"])
    parameters = sum(int(tf.size(variable)) for variable in method.students["ct"].trainable_variables)
    facts = {"parameters": parameters, "mib": (_peak_bytes() - before) / _MIB}
    repeat_on_request(facts, lambda: float(step(data)["loss"]), time.process_time)


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    commandline.run("benchmarks.networks")
