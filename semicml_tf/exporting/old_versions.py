"""Removes old versions of a model, oldest first, after a new version is published."""

from __future__ import annotations

import os
import pathlib
import shutil

from semicml_tf.artefact.versions import REMOVED, STAGED, complete_versions
from semicml_tf.system import atomic_files


def clear_left(model: pathlib.Path) -> None:
    """Removes what a killed export left: unpublished and half removed versions. The caller holds the model's lock."""
    for prefix in (STAGED, REMOVED):
        for path in model.glob(f"{prefix}*"):
            shutil.rmtree(path, ignore_errors=True)


def remove(model: str | pathlib.Path, newest: int, keep: int) -> tuple[int, ...]:
    """Removes the complete versions below `newest`, except for the highest `keep` of them.

    Folders without `saved_model.pb`, which are being copied, are neither counted nor touched.

    Args:
        newest: the version that was just published.
        keep: at least 1: the version that the new one was compared with stays, for a rollback.

    Returns:
        The numbers that were removed, ascending.

    Raises:
        ValueError: `keep` is less than 1.
        UserError: a folder cannot be removed. Lower versions are removed by then, higher ones are untouched.
    """
    if keep < 1:
        raise ValueError(f"expected to keep at least 1 version, got {keep}")
    folder = pathlib.Path(model)
    old = {number: path for number, path in complete_versions(folder).items() if number < newest}
    gone = sorted(old)[:-keep]
    for number in gone:
        # Renamed first, so that a server sees the whole version or none.
        hidden = folder / f"{REMOVED}{number}-{os.getpid()}"
        try:
            os.rename(old[number], hidden)
            shutil.rmtree(hidden)
        except FileNotFoundError:  # another exporter removes it at the same time
            continue
        except OSError as error:
            raise atomic_files.unwritable(old[number], error) from error
    return tuple(gone)
