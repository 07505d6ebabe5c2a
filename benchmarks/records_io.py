"""How fast records are written and read, beside what one would do by hand, in one run.

    python -m benchmarks.records_io --cases=4

Synthetic pairs of 240 x 240 x 155 voxels with a label; files in a temporary folder, read while they are still in the
system's cache: what is measured is the work of one reader, not the disk. `by hand` is the usual
`tf.train.Example` with a float_list an image and an int64_list a label.
"""

from __future__ import annotations

import os
import pathlib
import platform
import statistics
import tempfile
import time
from collections.abc import Callable

import numpy as np
from absl import flags

from semicml_tf import commandline
from semicml_tf.geometry.grid import Grid
from semicml_tf.preprocessing.normalisation import Normalisation
from semicml_tf.records import case_record, tfrecord_file
from semicml_tf.system import cpu, quiet_import

SHAPE = (155, 240, 240)
MODALITIES = {"t1ce": Normalisation("percentile", 0.5, 99.5), "t2": Normalisation("percentile", 0.5, 99.5)}
OURS, BYTES, LISTS = "the contract", "the contract's features, by TensorFlow", "float_list and int64_list, by hand"


def define_flags(values: flags.FlagValues) -> None:
    """The command's flags."""
    flags.DEFINE_integer("cases", 4, "Pairs to write and read.", lower_bound=1, flag_values=values)
    flags.DEFINE_integer("rounds", 3, "Measurements of each; the median counts.", lower_bound=1, flag_values=values)


def pair(seed: int) -> case_record.CaseRecord:
    """A pair of int16-like images with a ball of a lesion."""
    rng = np.random.default_rng(seed)
    grid = Grid(SHAPE, np.diag([1.0, 1.0, 1.0, 1.0]))
    images, constants = {}, {}
    for name, how in MODALITIES.items():
        volume = rng.integers(0, 1200, SHAPE, dtype=np.int16)
        constants[name] = how.constants(volume[::8, ::8, ::8])
        images[name] = constants[name].apply(volume).astype(np.float16)
    i, j, k = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    ball = ((i - 77) ** 2 + (j - 110) ** 2 + (k - 130) ** 2 <= 20**2).astype(np.uint8)
    return case_record.CaseRecord(f"case_{seed}", grid, images, constants, grid, ball, ball)


def write_ours(path: pathlib.Path, records: list[case_record.CaseRecord]) -> None:
    """Encoded and framed without TensorFlow."""
    with open(path, "wb") as stream:
        for record in records:
            tfrecord_file.write(stream, case_record.encode(record))


def write_by_tensorflow(path: pathlib.Path, records: list[case_record.CaseRecord]) -> None:
    """Byte strings of the same arrays, in TensorFlow's own message and writer."""
    tf = quiet_import.tensorflow()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            arrays = {**record.images, "label": record.label}
            feature = {
                name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[array.tobytes()]))
                for name, array in arrays.items()
            }
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(example.SerializeToString(deterministic=True))


def write_lists(path: pathlib.Path, records: list[case_record.CaseRecord]) -> None:
    """Number by number, as most tutorials do."""
    tf = quiet_import.tensorflow()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            feature = {
                name: tf.train.Feature(float_list=tf.train.FloatList(value=image.astype(np.float32).ravel()))
                for name, image in record.images.items()
            }
            feature["label"] = tf.train.Feature(int64_list=tf.train.Int64List(value=record.label.ravel()))
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())


def read_ours(path: pathlib.Path, records: list[case_record.CaseRecord]) -> int:
    """To numpy, each record reached by its number, as evaluation does."""
    count = 0
    for index in range(len(records)):
        with open(path, "rb") as stream:
            count += case_record.decode(tfrecord_file.read_one(stream, index)).images["t2"].size
    return count


def read_ours_in_graph(path: pathlib.Path, _) -> int:
    """To tensors, as training does, without its parallel calls."""
    tf = quiet_import.tensorflow()
    parsed = tf.data.TFRecordDataset(str(path)).map(
        lambda serialized: case_record.parse_in_graph(serialized, list(MODALITIES), labelled=True)
    )
    return sum(int(tf.size(element["image"]["t2"])) for element in parsed)


def read_lists_in_graph(path: pathlib.Path, _) -> int:
    """To tensors, number by number."""
    tf = quiet_import.tensorflow()
    wanted = {name: tf.io.FixedLenFeature(SHAPE, tf.float32) for name in MODALITIES}
    wanted["label"] = tf.io.FixedLenFeature(SHAPE, tf.int64)
    parsed = tf.data.TFRecordDataset(str(path)).map(lambda serialized: tf.io.parse_single_example(serialized, wanted))
    return sum(int(tf.size(element["t2"])) for element in parsed)


def _seconds(function: Callable, *arguments) -> tuple[float, float]:
    """By the clock, and of processor time of all threads."""
    clock, processor = time.perf_counter(), time.process_time()
    function(*arguments)
    return time.perf_counter() - clock, time.process_time() - processor


def _rows(title: str, jobs: dict[str, tuple[Callable, pathlib.Path]], records: list, rounds: int) -> list[str]:
    """Rows of the table; the rounds take turns, so that a busy machine is busy for all."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, (function, path) in jobs.items():
            taken[name].append(_seconds(function, path, records))
    rows, first = [], None
    for (name, times), (_, path) in zip(taken.items(), jobs.values()):
        clock, processor = (len(records) / statistics.median(column) for column in zip(*times))
        first = first or processor
        size = path.stat().st_size / len(records) / 1e6
        rows.append(f"| {title}, {name} | {clock:.2f} | {processor:.2f} | {processor / first:.3f} | {size:.1f} |")
    return rows


def main(values: flags.FlagValues) -> None:
    """Measures and prints a Markdown table."""
    tf = quiet_import.tensorflow()
    records = [pair(seed) for seed in range(values.cases)]
    with tempfile.TemporaryDirectory() as folder:
        ours, texts, lists = (pathlib.Path(folder) / name for name in ("ours", "bytes", "lists"))
        writers = {OURS: (write_ours, ours), BYTES: (write_by_tensorflow, texts), LISTS: (write_lists, lists)}
        readers = {
            f"{OURS}, to numpy": (read_ours, ours),
            f"{OURS}, tf.data": (read_ours_in_graph, ours),
            f"{LISTS}, tf.data": (read_lists_in_graph, lists),
        }
        rows = _rows("write", writers, records, values.rounds)
        for function, path in readers.values():  # tracing and the like is done once
            function(path, records)
        rows += _rows("read", readers, records, values.rounds)
    shape, load = " x ".join(map(str, SHAPE)), os.getloadavg()[0]
    checksum = "in C" if tfrecord_file.CRC_IS_FAST else "in PYTHON, slow"
    print(f"{values.cases} pairs of {shape} with label, median of {values.rounds} rounds, one process")
    print(f"{cpu.described()}, {load:.1f} processes wanted them at the end")
    print(f"Python {platform.python_version()}, TensorFlow {tf.__version__}, CRC-32C {checksum}\n")
    print("| what | cases/s by the clock | cases/s of processor time | relative to the first | MB a case |")
    print("|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    commandline.run("benchmarks.records_io")
