"""Seconds per volume of a 3-D U-Net over overlapping patches, beside MONAI's sliding-window inference in PyTorch.

    make .venv-torch/ready
    python -m benchmarks.volume_speed --torch_python=.venv-torch/bin/python

All competitors compute float32 probabilities of all voxels from a normalised volume of random values. They cover the
volume with the same patches, in batches of the same size. The overlap is half of a patch, and the weights are Gaussian.
The U-Nets have the same widths, random weights and strides of 2 everywhere. All cores are used. This package runs a
published model as `semicml_tf.predict` does, from the prepared volume to the probabilities on the volume's own grid.
PyTorch runs `monai.inferers.sliding_window_inference` with a network in `eval` under `inference_mode`, in both memory
layouts, with this package's U-Net and with MONAI's. Competitors stay in memory and take turns. Each ratio compares two
competitors in one round; the table shows the median.
"""

from __future__ import annotations

import dataclasses
import pathlib
import statistics
import sys

from benchmarks.competitor import Competitor, rounds
from benchmarks.sizes import TorchPython, cube_contradictions
from benchmarks.step_speed import OURS, PYTORCH
from semicml_tf import commandline
from semicml_tf.configuration import as_list, check, option
from semicml_tf.errors import UserError
from semicml_tf.geometry.patch import Patch
from semicml_tf.inference.patches import limited
from semicml_tf.system import cpu


@dataclasses.dataclass(frozen=True, kw_only=True)
class VolumeSpeedConfig(TorchPython):
    """Options of `benchmarks.volume_speed`."""

    volume: tuple[int, int, int] = option(
        (96, 128, 128), "Slices, rows and columns of the volume. Each a multiple of half the patch's side.", low=64
    )
    patch: tuple[int, int, int] = option(
        (64, 64, 64), "Slices, rows and columns of the patches. Each a multiple of 16, and all equal.", low=64
    )
    width: int = option(8, "Channels of the networks' first level.", low=1)
    rounds: int = option(5, "Rounds of one volume each. The table shows their median.", low=1)

    def __post_init__(self):
        check(self, self._contradictions())

    def _contradictions(self):
        yield from cube_contradictions(self.patch)
        # Elsewhere MONAI moves the last patch, and this package all patches, to end at the border.
        if any(size < side or size % (side // 2) for size, side in zip(self.volume, self.patch)):
            half = self.patch[0] // 2
            yield (
                f"expected --volume to be multiples of {half}, each at least {2 * half}, got {as_list(self.volume)}",
                "Correct --volume",
            )

    @property
    def batch_size(self) -> int:
        """Patches per call of this package, by default."""
        return limited(16, Patch(self.patch))

    @property
    def words(self) -> list[str]:
        """The sizes as arguments of `volume_of_ours` and `volume_of_torch`."""
        return [as_list(self.volume), as_list(self.patch), str(self.width), str(self.batch_size)]


CONFIG = VolumeSpeedConfig


def main(config: VolumeSpeedConfig) -> None:
    """Measures and prints a table."""
    config.require_torch()
    script = str(pathlib.Path(__file__).with_name("volume_of_torch.py"))
    commands = {OURS: [sys.executable, "-m", "benchmarks.volume_of_ours", *config.words]}
    for name, arguments in PYTORCH.items():
        commands[name] = [config.torch_python, script, *config.words, *arguments]
    competitors = {name: Competitor(command) for name, command in commands.items()}
    counts = {name: competitor.facts["patches"] for name, competitor in competitors.items()}
    if len(set(counts.values())) > 1:
        raise UserError(f"expected the same number of patches, got {counts}", remedy="Choose another --volume")
    seconds = rounds(competitors, config.rounds, 1)
    engines = dict.fromkeys(competitor.facts["engine"] for competitor in competitors.values())
    shape, patch = (" x ".join(map(str, sizes)) for sizes in (config.volume, config.patch))
    print(f"float32, {shape} voxels in {counts[OURS]} patches of {patch}, {config.batch_size} per call, ", end="")
    print(f"width {config.width}\n{', '.join(engines)}; {cpu.described()}")
    print(f"\n| inference | s a volume | ours is faster by | processor s a volume |\n|{'---|' * 4}")
    for name, competitor in competitors.items():
        ratio = statistics.median(theirs / ours for theirs, ours in zip(seconds[name], seconds[OURS]))
        middle, used = statistics.median(seconds[name]), competitor.facts["processor_s"]
        print(f"| {name} | {middle:.2f} | {ratio:.2f} | {used:.2f} |")


if __name__ == "__main__":
    commandline.run("benchmarks.volume_speed")
