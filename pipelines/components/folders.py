"""Local paths of artefact folders. Folders in an object store are copied."""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Iterator

from tfx.dsl.io import fileio

from semicml_tf.errors import UserError


def is_remote(uri: str) -> bool:
    """Whether the folder is in an object store."""
    return "://" in uri and not uri.startswith("file://")


def _path(uri: str) -> pathlib.Path:
    return pathlib.Path(uri.removeprefix("file://"))


@contextlib.contextmanager
def read(artefact) -> Iterator[pathlib.Path]:
    """Yields the folder of an input artefact. Folders in a store are copied, and the copy is removed at the end.

    Raises:
        UserError: the folder was deleted, although the metadata store names it.
    """
    if not is_remote(artefact.uri):
        path = _path(artefact.uri)
        if not path.is_dir():
            raise UserError(
                f"expected the folder of the {artefact.type_name} of an earlier run, but it is missing",
                path=path,
                remedy="Restore it, or run once with --nocache to make everything again",
            )
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        _copy_tree(artefact.uri, folder)
        yield pathlib.Path(folder)


@contextlib.contextmanager
def written(artefact) -> Iterator[pathlib.Path]:
    """Yields the folder of an output artefact. If it belongs into a store, it is copied there at the end."""
    if not is_remote(artefact.uri):
        path = _path(artefact.uri)
        path.mkdir(parents=True, exist_ok=True)
        yield path
        return
    # One level down, because commands write temporary files beside their outputs.
    with tempfile.TemporaryDirectory() as folder:
        inner = pathlib.Path(folder) / "artefact"
        inner.mkdir()
        yield inner
        _copy_tree(str(inner), artefact.uri)


def _copy_tree(source: str, target: str) -> None:
    for folder, _, names in fileio.walk(source):
        inner = os.path.relpath(folder, source)
        destination = target if inner == "." else os.path.join(target, inner)
        fileio.makedirs(destination)
        for name in names:
            fileio.copy(os.path.join(folder, name), os.path.join(destination, name), overwrite=True)
