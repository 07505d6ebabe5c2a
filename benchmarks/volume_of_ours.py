"""This package's side of `benchmarks.volume_speed`: segments a volume as often as each line of its input requests."""

from __future__ import annotations

import pathlib
import sys
import tempfile

import numpy as np

from benchmarks.on_request import repeat_on_request
from benchmarks.predict_memory import publish_model
from semicml_tf.system import quiet_import


def sizes(text: str) -> tuple[int, ...]:
    """Slices, rows and columns, from numbers separated by commas."""
    return tuple(map(int, text.split(",")))


def main(shape: tuple[int, ...], patch: tuple[int, ...], width: int, batch_size: int) -> None:
    """Loads a published model, prints a line, and then segments a volume of `shape` on request."""
    tf = quiet_import.tensorflow()

    from semicml_tf.geometry.grid import Grid
    from semicml_tf.inference import slices
    from semicml_tf.inference.exported_model import load
    from semicml_tf.inference.volume import Prepared

    with tempfile.TemporaryDirectory() as folder:
        publish_model(pathlib.Path(folder, "ct"), (0.0, 0.0, 0.0), patch, width)
        model = load(pathlib.Path(folder, "ct"))
    volume = np.random.default_rng(0).normal(size=shape).astype(np.float16)
    grid = Grid(shape, np.eye(4))
    prepared = Prepared(volume, grid, grid)

    def segment() -> None:
        for draw in model.draws(prepared, batch_size=batch_size):
            probabilities = draw[0]
        assert probabilities.dtype == np.float32 and probabilities.shape == shape

    segment()
    count = slices.count(shape, model.manifest.patch)
    repeat_on_request({"engine": f"TensorFlow {tf.__version__}", "patches": count}, segment)


if __name__ == "__main__":
    main(*map(sizes, sys.argv[1:3]), *map(int, sys.argv[3:5]))
