"""How a dataset was made: for people, outside the data's hash."""

from __future__ import annotations

import importlib.metadata
import pathlib
import platform
import shlex

from absl import flags

import semicml_tf
from semicml_tf.conversion.command_flags import PLACES, WITHOUT_EFFECT

_DISTRIBUTIONS = ("numpy", "scipy", "nibabel", "pydicom", "SimpleITK")


def command(values: flags.FlagValues, *, with_places: bool = True) -> str:
    """The command line, without flags that leave no trace in the output.

    Args:
        with_places: whether to tell folders and files of this machine.
    """
    hidden = (*WITHOUT_EFFECT, *(() if with_places else PLACES))
    given = [flag for flag in (values[name] for name in values) if flag.present and flag.name not in hidden]
    arguments = [line for flag in given for line in flag.serialize().splitlines()]  # a repeated flag has several
    return " ".join(["python -m semicml_tf.convert", *map(_as_typed, arguments)])


def _as_typed(argument: str) -> str:
    """As a shell takes it; with what it says left in one piece, so that names in it can be found."""
    return f'"{argument}"' if "'" in argument else shlex.quote(argument)


def provenance(values: flags.FlagValues, *, with_places: bool = True) -> dict:
    """Command, source and versions, as `dataset.json` tells them."""
    return {
        "command": command(values, with_places=with_places),
        **({"source": str(pathlib.Path(values.input).resolve())} if with_places else {}),
        "versions": {
            "semicml_tf": semicml_tf.__version__,
            "python": platform.python_version(),
            **{name: _version(name) for name in _DISTRIBUTIONS},
        },
    }


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
