"""Versions of the package, of Python and of libraries, to be kept beside results."""

from __future__ import annotations

import importlib.metadata
import platform
import sys

import semicml_tf


def versions(*distributions: str) -> dict[str, str | None]:
    """The versions by name, with those of ``semicml_tf`` and ``python`` first.

    Args:
        distributions: names by which pip knows the libraries. The version of a library that goes by another name, as
            TensorFlow in tensorflow-cpu, is that of the imported module; None where there is none.
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
