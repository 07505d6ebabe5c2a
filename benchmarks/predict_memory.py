"""Peak memory of a prediction by size of the volume.

    python -m benchmarks.predict_memory
    python -m benchmarks.predict_memory --window=32,64,64 --slices=1000 --noserved --more=--overlap=0.25

The command writes CT-like volumes (int16, 512 x 512 voxels per slice, 0.8 x 0.8 x 1 mm) into a temporary folder. A
network of one layer segments them: on the volume's own grid, on a coarser grid, and on the own grid by a server, with
the memory of the client. With a window of three numbers, the network is a 3-D U-Net with random weights. Each
prediction is a separate process.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

from pipelines.command import served
from semicml_tf import commandline
from semicml_tf.configuration import check, option
from semicml_tf.errors import UserError

SIDE = 512
GRIDS = {"the volume's own": (0.0, 0.0, 0.0), "3 x 2 x 2 mm": (3.0, 2.0, 2.0)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictMemoryConfig:
    """Options of `benchmarks.predict_memory`."""

    slices: tuple[int, ...] = option((250, 1000), "Slices of the volumes, one row for each.", low=1)
    more: tuple[str, ...] = option((), "Further flags of the prediction.")
    window: int | tuple[int, int, int] = option(
        256, "Side of a one-layer network's slices; three numbers are the patch of a 3-D U-Net.", low=8
    )
    width: int = option(4, "Channels of the 3-D U-Net's first level.", low=1)
    served: bool = option(True, "Measure the client of a server, too.")

    def __post_init__(self):
        check(self)


CONFIG = PredictMemoryConfig


def write_volume(path: pathlib.Path, slices: int) -> None:
    """Writes a ball of 40 HU in air, with noise."""
    import nibabel

    rng = np.random.default_rng(0)
    plane = np.hypot(*np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j])
    noise = rng.normal(0, 20, (SIDE, SIDE)).astype(np.float32)
    volume = np.empty((SIDE, SIDE, slices), np.int16, order="F")
    for index in range(slices):
        inside = np.hypot(plane, 2 * index / slices - 1) < 0.8
        volume[..., index] = np.where(inside, 40, -1000) + np.roll(noise, 7 * index, axis=0)
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([0.8, 0.8, 1.0, 1.0])), path)


def publish_model(
    folder: pathlib.Path, spacing_mm: tuple[float, float, float], window: int | tuple[int, int, int], width: int
) -> None:
    """Publishes a CT model for the grid of a spacing; 0 is the volume's own.

    Args:
        folder: of the model's versions.
        spacing_mm: (slice, row, column) of the network's grid.
        window: side of the slices of a network of one layer, which labels bright voxels; or (slices, rows, columns)
            of the patches of a 3-D U-Net with random weights.
        width: channels of the U-Net's first level.
    """
    from semicml_tf.system import quiet_import

    quiet_import.tensorflow()
    import keras

    from semicml_tf.artefact.manifest import Manifest
    from semicml_tf.exporting.publish import publish
    from semicml_tf.labels import LESION, PLAIN
    from semicml_tf.networks import catalogue
    from semicml_tf.preprocessing.normalisation import Normalisation

    if isinstance(window, int):
        layer = keras.layers.Conv2D(1, 1, activation="sigmoid")
        slices = keras.Input((window, window, 1))
        network = keras.Model(slices, layer(slices), name="ct")
        layer.set_weights([np.full((1, 1, 1, 1), 50, np.float32), np.zeros(1, np.float32)])
    else:
        network = catalogue.build(catalogue.specification("unet3d", window=window, width=width), name="ct")
    how = Normalisation.parse("hu:-200:300")
    publish(network, Manifest("ct", spacing_mm, how, window, PLAIN, {LESION: 0.5}, "", "", None, "0"), folder)


def peak(command: list[str]) -> tuple[int, float]:
    """Peak memory of a process in MB, and its time in seconds."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise UserError(f"a prediction failed: {' '.join(command)}", remedy="Run this command to see the reason")
    return used.ru_maxrss // 1024, time.monotonic() - start


def main(config: PredictMemoryConfig) -> None:
    """Measures and prints a Markdown table."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for number, spacing_mm in enumerate(GRIDS.values()):
            publish_model(folder / "models" / f"model{number}", spacing_mm, config.window, config.width)
        print("| network's grid | slices | volume as float32, MB | peak, MB | s |\n|---|---|---|---|---|", flush=True)
        for slices in config.slices:
            write_volume(folder / "in.nii", slices)
            files = [f"--input={folder / 'in.nii'}", f"--output={folder / 'out.nii'}", *config.more]

            def measure(grid: str, module: str, *flags: str, slices=slices, files=files) -> None:
                held, seconds = peak([sys.executable, "-m", module, *flags, *files])
                size = SIDE * SIDE * slices * 4 / 2**20
                print(f"| {grid} | {slices} | {size:.0f} | {held} | {seconds:.0f} |", flush=True)

            for number, grid in enumerate(GRIDS):
                measure(grid, "semicml_tf.predict", f"--model={folder / 'models' / f'model{number}'}")
            if not config.served:
                continue
            with served(folder / "models") as address:
                measure(
                    f"{next(iter(GRIDS))}, served",
                    "semicml_tf.serving.client",
                    f"--address={address}",
                    "--model=model0",
                    "--modality=ct",
                )


if __name__ == "__main__":
    commandline.run("benchmarks.predict_memory")
