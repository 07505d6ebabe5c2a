"""Publishes a network as a numbered SavedModel, and removes old versions: each change is one rename."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from semicml_tf.artefact.manifest import Manifest
from semicml_tf.artefact.versions import PROTO, REMOVED, STAGED, complete_versions, versions
from semicml_tf.errors import UserError
from semicml_tf.exporting import model_card, signatures, warmup_requests
from semicml_tf.exporting.ensemble import MeanNetwork
from semicml_tf.exporting.read_back import max_difference, tolerance
from semicml_tf.inference.slices import BATCH_SIZE
from semicml_tf.system import atomic_files


@dataclasses.dataclass(frozen=True)
class Published:
    """A version that was published.

    Attributes:
        folder: ``<model>/<version>``.
        version: its number.
        max_difference: largest difference of probabilities to the network in memory, over random slices.
    """

    folder: pathlib.Path
    version: int
    max_difference: float


@dataclasses.dataclass(frozen=True)
class Staged:
    """A complete model that has no number yet.

    Attributes:
        path: its folder, ``<model>/.staged-...``.
        max_difference: largest difference of probabilities to the network in memory, over random slices.
    """

    path: pathlib.Path
    max_difference: float

    def publish(self) -> Published:
        """Gives the model the next version number. Two exporters at the same time get two numbers.

        Raises:
            UserError: the folder cannot be written to.
        """
        folder = self.path.parent
        with _unwritable(folder):
            version = _rename_to_next(self.path, folder)
        return Published(folder / str(version), version, self.max_difference)


@contextlib.contextmanager
def stage(
    network,
    manifest: Manifest,
    folder: str | pathlib.Path,
    *,
    settings: Mapping[str, Any] | None = None,
    with_dropout=None,
    warm_up: Sequence[int] = (1, BATCH_SIZE),
) -> Iterator[Staged]:
    """Yields the next version of a model, written and compared with the network in memory.

    The version gets its number by `Staged.publish`. Without that, it is removed at the end of the block.

    Args:
        network: `keras.Model` or `MeanNetwork`, (batch, *space, channels) float32 -> probabilities
            (batch, *space, classes).
        manifest: of the network; `monte_carlo`, `network` and `window_multiple` are set to what the
            networks are.
        folder: of the model's versions, e.g. ``models/ct``.
        settings: of the training, for the model card.
        with_dropout: the network of the same weights with a second input, the slices' seeds (batch,) int32; becomes
            the signature `monte_carlo`. None where the network has no dropout.
        warm_up: batch sizes of the requests that a server answers before it announces the model.

    Raises:
        UserError: the folder cannot be written to, or the saved network differs from the one in memory.
    """
    folder = pathlib.Path(folder).absolute()
    spec = getattr(network, "spec", None)
    manifest = dataclasses.replace(
        manifest,
        monte_carlo=with_dropout is not None,
        network=spec,
        window_multiple=1 if spec is None else spec.window_multiple,
    )
    with _unwritable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        # The dot keeps servers that watch the folder from taking it for a version.
        path = pathlib.Path(tempfile.mkdtemp(prefix=STAGED, dir=folder))
    try:
        with _unwritable(folder):
            path.chmod(0o755)
            manifest.save(path)
            atomic_files.write_text(path / model_card.RELATIVE_PATH, model_card.text(manifest, settings or {}))
            warmup_requests.write(path, manifest, warm_up)
            _save(network, manifest, path, with_dropout)
            difference = max_difference(network, path, with_dropout)
        if not difference <= tolerance(manifest):
            raise UserError(
                f"the saved network differs from the one in memory by {difference:.3g}, above {tolerance(manifest):g}",
                path=folder,
                remedy="Nothing was published. Check the installed TensorFlow and Keras",
            )
        yield Staged(path, difference)
    finally:
        shutil.rmtree(path, ignore_errors=True)


def publish(network, manifest: Manifest, folder: str | pathlib.Path, **options) -> Published:
    """Writes the next version of a model; arguments and errors as in `stage`."""
    with stage(network, manifest, folder, **options) as staged:
        return staged.publish()


@contextlib.contextmanager
def _unwritable(folder: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise atomic_files.unwritable(folder, error) from error


def _save(network, manifest: Manifest, staged: pathlib.Path, with_dropout) -> None:
    import tensorflow as tf

    module = tf.Module(name=manifest.modality)
    # The variables and not the network: a Keras model also tracks optimizer, metrics and whatever it
    # was trained with, and the other modality's weights would follow.
    is_mean = isinstance(network, MeanNetwork)
    module.weights = [_weights(one) for one in network.networks] if is_mean else _weights(network)
    saving = staged / ".saving"
    tf.saved_model.save(module, str(saving), signatures=signatures.functions(network, manifest, with_dropout))
    # The protocol buffer last: a folder that has it is complete, also when copied file by file.
    for entry in sorted(saving.iterdir(), key=lambda path: path.name == PROTO):
        if entry.is_dir() and not any(entry.iterdir()):
            continue
        os.rename(entry, staged / entry.name)
    shutil.rmtree(saving)


def _weights(network) -> dict[str, Any]:
    weights = {variable.path: variable.value for variable in network.weights}
    if len(weights) != len(network.weights):
        raise ValueError("expected a name of its own for every weight of the network")
    return weights


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


def clear_left(model: pathlib.Path) -> None:
    """Removes what a killed export left: unpublished and half removed versions. The caller holds the model's lock."""
    for prefix in (STAGED, REMOVED):
        for path in model.glob(f"{prefix}*"):
            shutil.rmtree(path, ignore_errors=True)


def remove_old(model: str | pathlib.Path, newest: int, keep: int) -> tuple[int, ...]:
    """Removes the complete versions below `newest`, except for the highest `keep` of them.

    Folders without `saved_model.pb`, which are being copied, are neither counted nor removed.

    Args:
        model: folder of the model's versions.
        newest: the version that was just published.
        keep: at least 1: the version that the new one was compared with stays, for a rollback.

    Returns:
        The numbers of the removed versions, ascending.

    Raises:
        ValueError: `keep` is less than 1.
        UserError: a folder cannot be removed. Lower versions are removed by then, higher ones are untouched.
    """
    if keep < 1:
        raise ValueError(f"expected to keep at least 1 version, got {keep}")
    folder = pathlib.Path(model)
    old = {number: path for number, path in complete_versions(folder).items() if number < newest}
    removed = sorted(old)[:-keep]
    for number in removed:
        # Renamed first, so that a server sees the whole version or none.
        hidden = folder / f"{REMOVED}{number}-{os.getpid()}"
        try:
            os.rename(old[number], hidden)
            shutil.rmtree(hidden)
        except FileNotFoundError:  # another exporter removes it at the same time
            continue
        except OSError as error:
            raise atomic_files.unwritable(old[number], error) from error
    return tuple(removed)
