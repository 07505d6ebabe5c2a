"""Scores of whole volumes, beside MONAI's HD95 and Dice and google-deepmind/surface-distance on the same masks.

    make .venv-torch/ready
    python -m benchmarks.metrics_speed --torch_python=.venv-torch/bin/python

Masks of 240 x 240 x 155 voxels of 1 mm: a lesion and a prediction of it, smooth (compact), with thirty specks all over
the volume (scattered), and with ragged borders (rough). Each competitor is a process; they take turns, a round each
after another. Ratios are those of one round, and their median counts. A second table scores whole patients by
`evaluate`'s own way, resampling included, on one thread, on threads and in processes.
"""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np
from absl import flags

from benchmarks.competitor import Competitor, rounds
from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.system import cpu

KINDS = ("compact", "scattered", "rough")
MONAI = "MONAI: HD95, Dice"
_OURS = {
    "ours: every measure": "all",
    "ours: HD95, DSC": "hd95",
    "surface-distance alone: HD95, DSC": "library",
}


def define_flags(values: flags.FlagValues) -> None:
    """The command's flags."""
    flags.DEFINE_string("torch_python", ".venv-torch/bin/python", "Python with PyTorch and MONAI.", flag_values=values)
    flags.DEFINE_integer("rounds", 7, "Rounds; the median counts.", lower_bound=1, flag_values=values)
    flags.DEFINE_integer("patients", 6, "Patients of the second table.", lower_bound=1, flag_values=values)
    flags.DEFINE_list("shape", ["240", "240", "155"], "Voxels.", flag_values=values)


def masks(kind: str, shape: tuple[int, int, int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Prediction and truth, (i, j, k) of bool; a lesion of about 110 ml where the volume is of the usual shape."""
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


def beside_others(values: flags.FlagValues, shape: tuple[int, int, int]) -> None:
    """Prints the first table."""
    print("| masks | what | s a volume | MONAI takes as often as long |\n|---|---|---|---|", flush=True)
    engines: dict[str, None] = {}
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "masks.npz"
            prediction, truth = masks(kind, shape)
            np.savez(path, prediction=prediction, truth=truth, spacing_mm=np.ones(3))
            ours = [sys.executable, "-m", "benchmarks.masks_by_ours"]
            by_monai = str(pathlib.Path(__file__).parent / "masks_by_monai.py")
            commands = {name: [*ours, how, str(path)] for name, how in _OURS.items()}
            commands[MONAI] = [values.torch_python, by_monai, "speed", str(path)]
            competitors = {name: Competitor(command) for name, command in commands.items()}
            engines |= dict.fromkeys(competitor.facts["engine"] for competitor in competitors.values())
            seconds = rounds(competitors, values.rounds, 1)
        for name in commands:
            ratio = statistics.median(theirs / own for theirs, own in zip(seconds[MONAI], seconds[name]))
            print(f"| {kind} | {name} | {statistics.median(seconds[name]):.2f} | {ratio:.1f} |", flush=True)
    print(f"\n{' x '.join(map(str, shape))} voxels; {', '.join(engines)}\n")


def _patients(count: int, shape: tuple[int, int, int]) -> list:
    """Records whose network's grid is twice as coarse, and a prediction on it as their one image."""
    from semicml_tf.geometry.grid import Grid
    from semicml_tf.geometry.resample import resample
    from semicml_tf.preprocessing.normalisation import Constants
    from semicml_tf.records.case_record import CaseRecord

    native = Grid(shape, np.eye(4))
    grid = native.for_network((2.0, 2.0, 2.0))
    found = []
    for index in range(count):
        prediction, truth = masks(KINDS[index % len(KINDS)], shape, index)
        soft = resample(prediction, native, grid, outside=0.0).astype(np.float16)
        found.append(
            CaseRecord(
                case_id=f"p{index}",
                grid=grid,
                images={"ct": soft},
                constants={"ct": Constants(0.0, 1.0, 0.0, 1.0)},
                native_grid=native,
                label=None,
                native_label=truth.astype(np.uint8),
            )
        )
    return found


def _drawn(record) -> np.ndarray:
    return record.images["ct"].astype(np.float32)


def _score_one(record):
    from semicml_tf.evaluation import score_cases

    return score_cases.evaluate_predictions([record], {"ct": _drawn})["ct"][0]


def on_all_cores(values: flags.FlagValues, shape: tuple[int, int, int]) -> None:
    """Prints the second table."""
    from semicml_tf.evaluation import score_cases

    patients, count = _patients(values.patients, shape), max(2, cpu.available())
    # Spawned, as TensorFlow in the parent forbids a fork; they are started and have imported before the clock runs.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(count, mp_context=context) as pool:
        list(pool.map(_score_one, patients[:count]))
        ways: dict[str, Callable] = {
            "one thread": lambda: score_cases.evaluate_predictions(patients, {"ct": _drawn}, jobs=1)["ct"],
            f"{count} threads": lambda: score_cases.evaluate_predictions(patients, {"ct": _drawn}, jobs=count)["ct"],
            f"{count} processes": lambda: list(pool.map(_score_one, patients)),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        scores = {}
        for _ in range(values.rounds):
            for name, way in ways.items():
                begin = time.perf_counter()
                scores[name] = way()
                seconds[name].append(time.perf_counter() - begin)
    if any(found != scores["one thread"] for found in scores.values()):
        raise RuntimeError("the scores depend on how they were made")
    print("| whole patients | s a patient | one thread takes as often as long |\n|---|---|---|")
    for name, each in seconds.items():
        ratio = statistics.median(alone / own for alone, own in zip(seconds["one thread"], each))
        print(f"| {name} | {statistics.median(each) / len(patients):.2f} | {ratio:.2f} |")


def main(values: flags.FlagValues) -> None:
    """Runs the command."""
    if not pathlib.Path(values.torch_python).exists():
        raise UserError("no such Python", path=values.torch_python, remedy="Make it as the help says")
    shape = tuple(map(int, values.shape))
    beside_others(values, shape)
    on_all_cores(values, shape)


if __name__ == "__main__":
    commandline.run("benchmarks.metrics_speed")
