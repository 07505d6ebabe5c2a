"""Speed of conversion, beside a conversion by hand, and the memory of a worker.

    python -m benchmarks.conversion --cases=4

The input is synthetic pairs of 240 x 240 x 155 int16 voxels with a label, as .nii.gz, in a temporary folder. `by hand`
is nibabel with a `tf.train.Example` of one float_list per image and one int64_list per label, as in many tutorials. The
rows take turns in one process. The last lines give the time of the whole command and the peak memory of a worker.
"""

from __future__ import annotations

import dataclasses
import gzip
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import nibabel
import numpy as np

from semicml_tf import commandline
from semicml_tf.configuration import check, option
from semicml_tf.conversion.build_case import build
from semicml_tf.conversion.settings import Settings
from semicml_tf.conversion.verification.examine_case import examine
from semicml_tf.files.case import CaseFiles
from semicml_tf.files.source import NiftiFile
from semicml_tf.geometry.grid import Grid
from semicml_tf.labels import PLAIN
from semicml_tf.preprocessing.normalisation import Normalisation
from semicml_tf.records import case_record, tfrecord_file
from semicml_tf.system import cpu, quiet_import

SHAPE = (240, 240, 155)
AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])
MODALITIES = ("t2", "t1ce")
SETTINGS = Settings(
    modalities=MODALITIES,
    reference_modality="t2",
    spacing_mm=(0.0, 0.0, 0.0),
    normalisation={name: Normalisation("percentile", 0.5, 99.5) for name in MODALITIES},
    labels=PLAIN,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConversionSpeedConfig:
    """Options of `benchmarks.conversion`."""

    cases: int = option(4, "Pairs to convert.", low=2)
    rounds: int = option(3, "Rounds. The table shows their median.", low=1)
    shape: tuple[int, int, int] = option(SHAPE, "Voxels of a volume.", low=8)

    def __post_init__(self):
        check(self)


CONFIG = ConversionSpeedConfig


class NibabelFile(NiftiFile):
    """The same file, read by nibabel."""

    def read_volume(self) -> tuple[np.ndarray, Grid]:
        image = nibabel.load(self.path)
        return image.get_fdata(dtype=np.float32), Grid(image.shape, image.affine)

    def read_label(self) -> tuple[np.ndarray, Grid]:
        image = nibabel.load(self.path)
        return np.asarray(image.dataobj).astype(np.int32), Grid(image.shape, image.affine)


def write_cases(folder: pathlib.Path, count: int, shape: tuple[int, ...]) -> list[CaseFiles]:
    """Skull-stripped heads as in BraTS: noise within an ellipsoid, 0 outside, and a ball as lesion."""
    cases = []
    i, j, k = np.ogrid[: shape[0], : shape[1], : shape[2]]
    centred = [(axis - size / 2) / (0.34 * size) for axis, size in zip((i, j, k), shape)]
    head = sum(axis**2 for axis in centred) <= 1
    lesion = sum((3 * axis) ** 2 for axis in centred) <= 1
    for number in range(count):
        rng = np.random.default_rng(number)
        paths = {}
        for name in (*MODALITIES, "seg"):
            values = lesion.astype(np.uint8) if name == "seg" else np.where(head, rng.normal(600, 120, shape), 0)
            paths[name] = folder / f"B{number}" / f"B{number}_{name}.nii.gz"
            paths[name].parent.mkdir(exist_ok=True)
            content = nibabel.Nifti1Image(values.astype(np.uint8 if name == "seg" else np.int16), AFFINE).to_bytes()
            paths[name].write_bytes(gzip.compress(content, 6))
        images = {name: NiftiFile(paths[name]) for name in MODALITIES}
        cases.append(CaseFiles(f"B{number}", images, NiftiFile(paths["seg"])))
    return cases


def by_hand(cases: list[CaseFiles], path: pathlib.Path) -> None:
    """nibabel, and lists of numbers in the record, as in most tutorials."""
    tf = quiet_import.tensorflow()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for case in cases:
            feature = {}
            for name, source in case.images.items():
                volume = nibabel.load(source.path).get_fdata()
                body = volume[volume != 0]
                volume = (volume - body.mean()) / body.std()
                feature[name] = tf.train.Feature(float_list=tf.train.FloatList(value=volume.ravel()))
            label = nibabel.load(case.label.path).get_fdata().astype(np.int64)
            feature["label"] = tf.train.Feature(int64_list=tf.train.Int64List(value=label.ravel()))
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())


def the_contract(cases: list[CaseFiles], path: pathlib.Path) -> None:
    """Writes the records without verification."""
    with open(path, "wb") as stream:
        for case in cases:
            tfrecord_file.write(stream, case_record.encode(build(case, SETTINGS, with_label=True)))


def the_contract_by_nibabel(cases: list[CaseFiles], path: pathlib.Path) -> None:
    """The same records, gunzipped and decoded by nibabel."""
    read = {case.case_id: {name: NibabelFile(source.path) for name, source in case.images.items()} for case in cases}
    slow = [dataclasses.replace(case, images=read[case.case_id], label=NibabelFile(case.label.path)) for case in cases]
    the_contract(slow, path)


def verified(cases: list[CaseFiles], path: pathlib.Path) -> None:
    """Verifies the cases first, as the command does."""
    for case in cases:
        report = examine(case, SETTINGS, with_label=True)
        if any(finding.severity == "error" for finding in report.findings):
            raise ValueError(f"expected sound cases, got {report.findings}")
    the_contract(cases, path)


_TIMES = 5  # cases of the longer command to each of the shorter one

JOBS: dict[str, Callable] = {
    "by hand: nibabel, float_list, nothing verified": by_hand,
    "the contract, read by nibabel, nothing verified": the_contract_by_nibabel,
    "the contract, nothing verified": the_contract,
    "the contract, verified first": verified,
}


def _measured(cases: list[CaseFiles], folder: pathlib.Path, rounds: int) -> dict[str, tuple[float, float]]:
    """Cases per second of elapsed time and of processor time, by job. The jobs take turns."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in JOBS}
    for _ in range(rounds):
        for name, job in JOBS.items():
            clock, processor = time.perf_counter(), time.process_time()
            job(cases, folder / "records")
            taken[name].append((time.perf_counter() - clock, time.process_time() - processor))
    return {
        name: tuple(len(cases) / statistics.median(column) for column in zip(*times)) for name, times in taken.items()
    }


def _copies(cases: list[CaseFiles], folder: pathlib.Path, times: int) -> None:
    """Makes `times` cases of each case by symbolic links."""
    for number, case in enumerate(cases * times):
        name = f"C{number:04d}"
        (folder / name).mkdir(parents=True)
        for what, source in {**case.images, "seg": case.label}.items():
            (folder / name / f"{name}_{what}.nii.gz").symlink_to(source.path)


def _command(folder: pathlib.Path, workers: int) -> float:
    """Seconds of the whole command."""
    line = [sys.executable, "-m", "semicml_tf.convert", f"--input={folder}", f"--output={folder.parent / 'out'}"]
    flags = [f"--modalities={','.join(MODALITIES)}", "--split_seed=0", "--overwrite"]
    flags += ["--labelled_fraction=1", "--validation_fraction=0", "--test_fraction=0"]
    start = time.perf_counter()
    subprocess.run([*line, *flags, f"--workers={workers}"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


# A separate process, because the kernel counts the peak memory from the start of a process.
_PEAK = """
import pathlib, pickle, sys
from benchmarks.conversion import verified
cases = pickle.load(sys.stdin.buffer)
verified(cases, pathlib.Path(sys.argv[1]))
status = pathlib.Path("/proc/self/status").read_text()
print(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
"""


def _peak_mb(cases: list[CaseFiles], folder: pathlib.Path) -> float:
    import pickle

    done = subprocess.run(
        [sys.executable, "-c", _PEAK, str(folder / "peak")], input=pickle.dumps(cases), capture_output=True, check=True
    )
    return int(done.stdout) / 1024


def main(config: ConversionSpeedConfig) -> None:
    """Measures and prints a Markdown table."""
    quiet_import.tensorflow()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        (folder / "source").mkdir()
        cases = write_cases(folder / "source", config.cases, config.shape)
        rates = _measured(cases, folder, config.rounds)
        few, all_of_them = _peak_mb(cases[:1], folder), _peak_mb(cases, folder)
        workers = cpu.available()
        seconds = _command(folder / "source", workers)
        _copies(cases, folder / "copies", _TIMES)
        many = _command(folder / "copies", workers)
    first = next(iter(rates.values()))[1]
    print(f"{config.cases} pairs of {' x '.join(map(str, config.shape))} with label, median of {config.rounds} rounds")
    print(f"{cpu.described()}, {os.getloadavg()[0]:.1f} processes wanted them at the end\n")
    print("| what | cases/s by the clock | cases/s of processor time | relative to by hand |")
    print("|---|---|---|---|")
    for name, (clock, processor) in rates.items():
        print(f"| {name} | {clock:.2f} | {processor:.2f} | {processor / first:.1f} |")
    count = config.cases * _TIMES
    marginal = (count - config.cases) / (many - seconds) / workers
    print(f"\nThe whole command, {workers} workers: {seconds:.1f} s for {config.cases} cases, {many:.1f} s for {count}")
    print(f"Without what starting takes: {marginal:.2f} cases/s/core")
    print(f"A worker's peak memory: {few:.0f} MB with 1 case, {all_of_them:.0f} MB with {config.cases} cases")


if __name__ == "__main__":
    commandline.run("benchmarks.conversion")
