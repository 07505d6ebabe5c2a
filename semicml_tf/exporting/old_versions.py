"""Old versions of a model let go, oldest first, once a new one is published."""

from __future__ import annotations

import os
import pathlib
import shutil

from semicml_tf.artefact.versions import REMOVED, STAGED, complete_versions
from semicml_tf.system import atomic_files


def clear_left(model: pathlib.Path) -> None:
    """Removes versions that a killed export had not published yet or not removed completely; under the model's lock."""
    for prefix in (STAGED, REMOVED):
        for path in model.glob(f"{prefix}*"):
            shutil.rmtree(path, ignore_errors=True)


def remove(model: str | pathlib.Path, newest: int, keep: int) -> tuple[int, ...]:
    """Removes the complete versions below `newest`, but for the highest `keep` of them.

    Folders without `saved_model.pb`, which are being copied, are neither counted nor touched.

    Args:
        newest: the version that was just published.
        keep: at least 1, the version that the new one was compared with, and to which one can go back.

    Returns:
        The numbers that were removed, ascending.

    Raises:
        ValueError: `keep` is less than 1.
        UserError: a folder cannot be removed. Those below it are gone, those above it untouched.
    """
    if keep < 1:
        raise ValueError(f"expected to keep at least 1 version, got {keep}")
    folder = pathlib.Path(model)
    old = {number: path for number, path in complete_versions(folder).items() if number < newest}
    gone = sorted(old)[:-keep]
    for number in gone:
        # Renamed first: a server that looks just now finds it whole or not at all.
        hidden = folder / f"{REMOVED}{number}-{os.getpid()}"
        try:
            os.rename(old[number], hidden)
            shutil.rmtree(hidden)
        except FileNotFoundError:  # another exporter removes it just now
            continue
        except OSError as error:
            raise atomic_files.unwritable(old[number], error) from error
    return tuple(gone)
