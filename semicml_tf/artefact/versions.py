"""The numbered folders of an exported model's versions."""

from __future__ import annotations

import pathlib
import re

from semicml_tf.errors import UserError

# Written last: a folder that has it is complete.
PROTO = "saved_model.pb"
# Prefixes of folders that will become a version, or were a version. Servers ignore them.
STAGED, REMOVED = ".staged-", ".removed-"
REMEDY = "Export the run again with python -m semicml_tf.export"


def versions(folder: str | pathlib.Path) -> dict[int, pathlib.Path]:
    """The version folders in `folder` by number, ascending."""
    # Version numbers have 64 bits in gRPC.
    numbered = [entry for entry in pathlib.Path(folder).iterdir() if re.fullmatch("[0-9]{1,18}", entry.name)]
    return dict(sorted((int(entry.name), entry) for entry in numbered if entry.is_dir()))


def complete_versions(folder: str | pathlib.Path) -> dict[int, pathlib.Path]:
    """The `versions` with a complete SavedModel; {} if `folder` does not exist."""
    if not pathlib.Path(folder).is_dir():
        return {}
    return {number: path for number, path in versions(folder).items() if (path / PROTO).is_file()}


def version_folder(model: str | pathlib.Path) -> pathlib.Path:
    """The folder of a SavedModel: `model` itself, or the highest version in it.

    Raises:
        UserError: there is no SavedModel.
    """
    folder = pathlib.Path(model)
    if not folder.is_dir():
        raise UserError("expected the folder of an exported model, but there is none", path=folder, remedy=REMEDY)
    if not (folder / PROTO).is_file():
        numbered = versions(folder)
        if numbered:
            folder = numbered[max(numbered)]
    if (folder / PROTO).is_file():
        return folder
    models = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and versions(entry))
    if models:
        raise UserError(
            f"expected one model, got a folder with several: {', '.join(models)}",
            path=folder,
            remedy=f"Name one of them, e.g. {folder / models[0]}",
        )
    raise UserError(f"expected an exported model, but there is no {PROTO}", path=folder, remedy=REMEDY)
