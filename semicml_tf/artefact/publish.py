"""A network becomes a numbered SavedModel: staged beside its target, checked, then renamed."""

from __future__ import annotations

import dataclasses
import errno
import os
import pathlib
import shutil
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from semicml_tf import atomic
from semicml_tf.artefact import model_card
from semicml_tf.artefact.load import SIGNATURE, load, versions
from semicml_tf.artefact.manifest import INPUT_NAME, MONTE_CARLO, OUTPUT_NAME, SEEDS_NAME, Manifest
from semicml_tf.errors import UserError

# Both run the same float32 graph; what may differ is the order of sums.
TOLERANCE = 1e-5
_PROTO = "saved_model.pb"


@dataclasses.dataclass(frozen=True)
class Published:
    """A version that was published.

    Attributes:
        folder: ``<model>/<version>``.
        version: its number.
        max_difference: largest difference to the network in memory, over random slices.
    """

    folder: pathlib.Path
    version: int
    max_difference: float


def publish(
    network,
    manifest: Manifest,
    folder: str | pathlib.Path,
    *,
    settings: Mapping[str, Any] | None = None,
    with_dropout=None,
) -> Published:
    """Writes the next version of a model.

    Nothing shows under a number before it is complete and gives what the network in memory gives. Two
    exporters at once get two numbers.

    Args:
        network: `keras.Model`, (batch, window, window, 1) float32 -> probabilities likewise.
        manifest: goes beside it.
        folder: of the model's versions, e.g. ``models/ct``.
        settings: of the training, for the model card.
        with_dropout: `keras.Model` of the same weights and a second input, the slices' seeds (batch,) int32; becomes
            the signature `monte_carlo`. None where the network has no dropout.

    Raises:
        UserError: the folder cannot be written to, or the saved network differs from the one in memory.
    """
    folder = pathlib.Path(folder).absolute()
    staged = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # The dot keeps servers that watch the folder from taking it for a version.
        staged = pathlib.Path(tempfile.mkdtemp(prefix=".staged-", dir=folder))
        staged.chmod(0o755)
        _save(network, manifest, staged, settings or {}, with_dropout)
        difference = max_difference(network, staged, manifest.window, with_dropout)
        if not difference <= TOLERANCE:
            raise UserError(
                f"the saved network differs from the one in memory by {difference:.3g}, above {TOLERANCE:g}",
                path=folder,
                remedy="Nothing was published; check the installed TensorFlow and Keras",
            )
        version = _rename_to_next(staged, folder)
    except OSError as error:
        raise UserError(
            f"cannot write here ({error.strerror or error})",
            path=folder,
            remedy="Choose an output in a folder that you may write to and that has free space",
        ) from error
    finally:
        if staged is not None:
            shutil.rmtree(staged, ignore_errors=True)
    return Published(folder / str(version), version, difference)


def max_difference(network, saved: str | pathlib.Path, window: int, with_dropout=None) -> float:
    """Largest difference of probabilities between a network in memory and a SavedModel of it, dropout included."""
    # 3 slices: more than one, so that the batch axis is tried, and not a power of 2.
    slices = np.random.default_rng(0).uniform(-1, 1, (3, window, window, 1)).astype(np.float32)
    model = load(saved)
    differences = [model.slices(slices) - np.asarray(network(slices, training=False))]
    if with_dropout is not None:
        seeds = np.arange(3, dtype=np.int32)
        differences.append(
            model.dropout_slices(slices, seeds) - np.asarray(with_dropout([slices, seeds], training=False))
        )
    return max(float(np.abs(found).max()) for found in differences)


def _save(network, manifest: Manifest, staged: pathlib.Path, settings: Mapping[str, Any], with_dropout) -> None:
    import tensorflow as tf

    window = manifest.window

    images = tf.TensorSpec((None, window, window, 1), tf.float32, name=INPUT_NAME)

    def answer(found):
        return {OUTPUT_NAME: tf.ensure_shape(tf.cast(found, tf.float32), (None, window, window, 1))}

    @tf.function(input_signature=[images])
    def serve(slices):
        return answer(network(slices, training=False))

    @tf.function(input_signature=[images, tf.TensorSpec((None,), tf.int32, name=SEEDS_NAME)])
    def draw(slices, seeds):
        return answer(with_dropout([slices, seeds], training=False))

    signatures = {SIGNATURE: serve} | ({} if with_dropout is None else {MONTE_CARLO: draw})

    module = tf.Module(name=manifest.modality)
    # The variables and not the network: a Keras model also tracks optimizer, metrics and whatever it
    # was trained with, and the other modality's weights would follow.
    module.weights = {variable.path: variable.value for variable in network.weights}
    if len(module.weights) != len(network.weights):
        raise ValueError("expected a name of its own for every weight of the network")
    saving = staged / ".saving"
    tf.saved_model.save(module, str(saving), signatures=signatures)
    manifest.save(staged)
    atomic.write_text(staged / model_card.RELATIVE_PATH, model_card.text(manifest, settings))
    # The protocol buffer last: a folder that has it is complete, also when copied file by file.
    for entry in sorted(saving.iterdir(), key=lambda path: path.name == _PROTO):
        if entry.is_dir() and not any(entry.iterdir()):
            continue
        os.rename(entry, staged / entry.name)
    shutil.rmtree(saving)


def _rename_to_next(staged: pathlib.Path, folder: pathlib.Path) -> int:
    while True:
        version = max(versions(folder), default=0) + 1
        try:
            os.rename(staged, folder / str(version))
            return version
        except OSError as error:
            # Another exporter took the number between the look and the rename: a folder that holds
            # something is never replaced.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
