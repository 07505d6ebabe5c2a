"""Speed of scoring, beside MONAI's HD95 and Dice and google-deepmind/surface-distance on the same masks.

    make .venv-torch/ready
    python -m benchmarks.metrics_speed --torch_python=.venv-torch/bin/python

The masks have 240 x 240 x 155 voxels of 1 mm. They are a lesion and a prediction: smooth (compact), with thirty specks
all over the volume (scattered), and with ragged borders (rough). Each competitor is a process, and they take turns.
Each ratio compares two competitors in one round; the table shows the median. A second table scores whole patients as
`evaluate` does, resampling included: two networks and two no-network baselines, on one thread and on all cores.
"""

from __future__ import annotations

import dataclasses
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np

from benchmarks.competitor import Competitor, rounds
from benchmarks.sizes import TorchPython
from semicml_tf import commandline
from semicml_tf.configuration import check, option
from semicml_tf.system import cpu

KINDS = ("compact", "scattered", "rough")
# For the second table.
NETWORKS = ("ct", "pet")
PATIENT_SHAPE, SPACING_MM, NETWORK_SPACING_MM = (256, 256, 33), (1.5625, 1.5625, 4.0), (4.0, 3.0, 3.0)
MONAI = "MONAI: HD95, Dice"
_OURS = {
    "ours: every measure": "all",
    "ours: HD95, DSC": "hd95",
    "surface-distance alone: HD95, DSC": "library",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetricsSpeedConfig(TorchPython):
    """Options of `benchmarks.metrics_speed`."""

    rounds: int = option(7, "Rounds. The tables show their median.", low=1)
    patients: int = option(6, "Patients of the second table.", low=1)
    shape: tuple[int, int, int] = option((240, 240, 155), "Voxels of a mask in the first table.", low=8)

    def __post_init__(self):
        check(self)


CONFIG = MetricsSpeedConfig


def masks(kind: str, shape: tuple[int, int, int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Prediction and truth, each (i, j, k) of bool. With the default shape, the lesion has about 110 ml."""
    from scipy import ndimage

    random = np.random.default_rng(seed)
    at = [axis / length for axis, length in zip(np.ogrid[: shape[0], : shape[1], : shape[2]], shape)]

    def ball(centre, radius):
        return sum(((axis - c) / r) ** 2 for axis, c, r in zip(at, centre, radius)) <= 1

    truth = ball((0.5, 0.46, 0.52), (0.12, 0.15, 0.16)) | ball((0.62, 0.58, 0.58), (0.06, 0.05, 0.06))
    prediction = ball((0.52, 0.47, 0.5), (0.125, 0.14, 0.155))
    if kind == "scattered":
        for centre in random.uniform(0.05, 0.95, (30, 3)):
            prediction = prediction | ball(centre, (0.012, 0.012, 0.015))
    if kind == "rough":
        noise = ndimage.gaussian_filter(random.standard_normal(shape).astype(np.float32), 2)
        prediction = prediction & (noise > -0.05)
        truth = truth | (ball((0.5, 0.46, 0.52), (0.14, 0.17, 0.19)) & (noise > 0.03))
    return prediction, truth


def beside_others(config: MetricsSpeedConfig) -> None:
    """Prints the first table."""
    print("| masks | what | s a volume | MONAI takes as often as long |\n|---|---|---|---|", flush=True)
    engines: dict[str, None] = {}
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "masks.npz"
            prediction, truth = masks(kind, config.shape)
            np.savez(path, prediction=prediction, truth=truth, spacing_mm=np.ones(3))
            ours = [sys.executable, "-m", "benchmarks.masks_by_ours"]
            by_monai = str(pathlib.Path(__file__).parent / "masks_by_monai.py")
            commands = {name: [*ours, how, str(path)] for name, how in _OURS.items()}
            commands[MONAI] = [config.torch_python, by_monai, "speed", str(path)]
            competitors = {name: Competitor(command) for name, command in commands.items()}
            engines |= dict.fromkeys(competitor.facts["engine"] for competitor in competitors.values())
            seconds = rounds(competitors, config.rounds, 1)
        for name in commands:
            ratio = statistics.median(theirs / own for theirs, own in zip(seconds[MONAI], seconds[name]))
            print(f"| {kind} | {name} | {statistics.median(seconds[name]):.2f} | {ratio:.1f} |", flush=True)
    print(f"\n{' x '.join(map(str, config.shape))} voxels; {', '.join(engines)}\n")


def patients(count: int, shape: tuple[int, int, int]) -> list:
    """Records with the images that the segmenters of `rows` read.

    Two images are the probabilities of two networks. In the third, a threshold finds the lesion and further voxels.
    """
    from scipy import ndimage

    from semicml_tf.geometry.grid import Grid
    from semicml_tf.geometry.resample import resample
    from semicml_tf.preprocessing.normalisation import Constants
    from semicml_tf.records.case_record import CaseRecord

    native = Grid(shape, np.diag([*SPACING_MM, 1.0]))
    grid = native.for_network(NETWORK_SPACING_MM)
    found = []
    for index in range(count):
        truth = masks(KINDS[index % len(KINDS)], shape, index)[1]
        images = {}
        for number, name in enumerate(NETWORKS):
            prediction = masks(KINDS[(index + number) % len(KINDS)], shape, index)[0]
            images[name] = resample(prediction, native, grid, outside=0.0).astype(np.float16)
        noise = ndimage.gaussian_filter(np.random.default_rng(index).standard_normal(grid.shape), 3)
        images["suv"] = (noise / noise.std() + 3 * images[NETWORKS[0]]).astype(np.float16)
        found.append(
            CaseRecord(
                case_id=f"p{index}",
                grid=grid,
                images=images,
                constants=dict.fromkeys(images, Constants(0.0, 1.0, 0.0, 1.0)),
                native_grid=native,
                label=None,
                native_label=truth.astype(np.uint8),
            )
        )
    return found


def rows() -> dict[str, Callable]:
    """Segmenters by name: the probabilities of two networks, and the two no-network baselines."""
    from semicml_tf.evaluation.trivial_baselines import Ellipsoid, Threshold

    networks = {name: lambda record, name=name: record.images[name].astype(np.float32) for name in NETWORKS}
    return networks | {"ellipsoid": Ellipsoid(20.0, 0.0), "threshold": Threshold("suv", 1.5, 1.5, "z", 0.0)}


def whole_patients(config: MetricsSpeedConfig) -> None:
    """Prints the second table."""
    from semicml_tf.evaluation import score_cases

    records, threads = patients(config.patients, PATIENT_SHAPE), max(2, cpu.available())
    seconds: dict[int, list[tuple[float, float]]] = {1: [], threads: []}
    scores = {}
    for _ in range(config.rounds):
        for jobs, times in seconds.items():
            begin = time.perf_counter(), time.process_time()
            scores[jobs] = score_cases.evaluate_predictions(records, rows(), jobs=jobs)
            times.append((time.perf_counter() - begin[0], time.process_time() - begin[1]))
    if scores[1] != scores[threads]:
        raise RuntimeError("the scores depend on the number of threads")
    print("| 50 patients, 4 rows each | s | processor s | one thread takes as often as long |\n|---|---|---|---|")
    for jobs, times in seconds.items():
        wall, processor = (statistics.median(column) / len(records) * 50 for column in zip(*times))
        ratio = statistics.median(alone[0] / own[0] for alone, own in zip(seconds[1], times))
        print(f"| {jobs} thread{'s' if jobs > 1 else ''} | {wall:.0f} | {processor:.0f} | {ratio:.2f} |")
    print(f"\n{' x '.join(map(str, PATIENT_SHAPE))} voxels, {len(records)} patients scored")


def main(config: MetricsSpeedConfig) -> None:
    """Measures and prints both tables."""
    config.require_torch()
    beside_others(config)
    whole_patients(config)


if __name__ == "__main__":
    commandline.run("benchmarks.metrics_speed")
