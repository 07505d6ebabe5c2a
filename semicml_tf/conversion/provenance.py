"""How a dataset was made: for people, outside the data's hash."""

from __future__ import annotations

import pathlib
import shlex

from semicml_tf.configuration import as_flags, given
from semicml_tf.conversion.config import WITH_PATHS, WITHOUT_EFFECT, ConvertConfig
from semicml_tf.system.versions import versions

_DISTRIBUTIONS = ("numpy", "scipy", "nibabel", "pydicom", "SimpleITK")


def command(config: ConvertConfig, *, with_places: bool = True) -> str:
    """The command line, without flags that leave no trace in the output.

    Args:
        config: options of the conversion; those that were given are written.
        with_places: whether to write folders and files of this machine.
    """
    hidden = (*WITHOUT_EFFECT, *(() if with_places else WITH_PATHS))
    lines = as_flags(config, [name for name in given(config) if name not in hidden])
    return " ".join(["python -m semicml_tf.convert", *map(_as_typed, lines)])


def _as_typed(argument: str) -> str:
    """The argument as a shell takes it, with each name in it in one piece, so that names can be found."""
    return f'"{argument}"' if "'" in argument else shlex.quote(argument)


def provenance(config: ConvertConfig, *, with_places: bool = True) -> dict:
    """Command, source and versions, as `dataset.json` holds them."""
    return {
        "command": command(config, with_places=with_places),
        **({"source": str(pathlib.Path(config.input).resolve())} if with_places else {}),
        "versions": versions(*_DISTRIBUTIONS),
    }
