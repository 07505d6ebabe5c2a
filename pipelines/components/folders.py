"""An artefact's folder as a path of this machine: where it lies, or a copy if it lies in an object store."""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Iterator

from tfx.dsl.io import fileio

from semicml_tf.errors import UserError


def is_remote(uri: str) -> bool:
    """Whether only a store's client reads it."""
    return "://" in uri and not uri.startswith("file://")


def _path(uri: str) -> pathlib.Path:
    return pathlib.Path(uri.removeprefix("file://"))


@contextlib.contextmanager
def read(artefact) -> Iterator[pathlib.Path]:
    """Yields the folder of an input artefact; what lies in a store is fetched first, and the copy removed in the end.

    Raises:
        UserError: it is not there, as where somebody deleted what the pipeline's memory still names.
    """
    if not is_remote(artefact.uri):
        path = _path(artefact.uri)
        if not path.is_dir():
            raise UserError(
                f"expected the folder of the {artefact.type_name} that a former run left, but it is gone",
                path=path,
                remedy="Put it back, or run with --nocache once to make everything anew",
            )
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        _copy_tree(artefact.uri, folder)
        yield pathlib.Path(folder)


@contextlib.contextmanager
def written(artefact) -> Iterator[pathlib.Path]:
    """Yields the folder that becomes an output artefact; what belongs into a store is sent there in the end."""
    if not is_remote(artefact.uri):
        path = _path(artefact.uri)
        path.mkdir(parents=True, exist_ok=True)
        yield path
        return
    # One level down: what a command stages beside its output stays in a place of its own.
    with tempfile.TemporaryDirectory() as folder:
        inner = pathlib.Path(folder) / "artefact"
        inner.mkdir()
        yield inner
        _copy_tree(str(inner), artefact.uri)


def _copy_tree(source: str, target: str) -> None:
    for folder, _, names in fileio.walk(source):
        inner = os.path.relpath(folder, source)
        beside = target if inner == "." else os.path.join(target, inner)
        fileio.makedirs(beside)
        for name in names:
            fileio.copy(os.path.join(folder, name), os.path.join(beside, name), overwrite=True)
