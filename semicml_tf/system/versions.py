"""Versions of the package, of Python and of libraries, to be stored with results."""

from __future__ import annotations

import importlib.metadata
import platform
import sys

import semicml_tf


def versions(*distributions: str) -> dict[str, str | None]:
    """The versions by name, with those of ``semicml_tf`` and ``python`` first.

    Args:
        distributions: names of the libraries for pip. If a library is installed under another name (TensorFlow as
            tensorflow-cpu), the version is that of the imported module, or None if it is not imported.
    """
    return {
        "semicml_tf": semicml_tf.__version__,
        "python": platform.python_version(),
        **{name: _version(name) for name in distributions},
    }


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return getattr(sys.modules.get(distribution), "__version__", None)
