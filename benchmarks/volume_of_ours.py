"""This package's side of `benchmarks.volume_speed`: segments a volume as often as each line of its input requests."""

from __future__ import annotations

import pathlib
import sys
import tempfile

import numpy as np

from benchmarks.on_request import repeat_on_request
from semicml_tf.system import quiet_import


def publish_model(folder: pathlib.Path, patch: tuple[int, ...], width: int) -> None:
    """Publishes a 3-D U-Net with random weights for CT volumes on their own grid."""
    from semicml_tf.artefact.manifest import Manifest
    from semicml_tf.exporting.publish import publish
    from semicml_tf.labels import LESION, PLAIN
    from semicml_tf.networks import catalogue
    from semicml_tf.preprocessing.normalisation import Normalisation

    network = catalogue.build(catalogue.specification("unet3d", window=patch, width=width), name="ct")
    how = Normalisation.parse("hu:-200:300")
    manifest = Manifest("ct", (0.0, 0.0, 0.0), how, patch, PLAIN, {LESION: 0.5}, "", "", None, "0")
    publish(network, manifest, folder)


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
        publish_model(pathlib.Path(folder, "ct"), patch, width)
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
