"""A study's flagfile as the flags of one command, so that what is cached depends on the values and not on a path."""

from __future__ import annotations

import shlex

from semicml_tf import commandline


def flags_of(command: str, study: str | None, *further: str) -> str:
    """The flags that a study and `further` give a command, on one line that `split` takes apart again.

    Args:
        command: e.g. ``semicml_tf.train``.
        study: path of a flagfile; none: no flags of it.
        further: win over the study's.

    Raises:
        UserError: the flagfile cannot be read, or a flag is unknown.
    """
    first = [f"--flagfile={study}"] if study else []
    values, _ = commandline.parse(command, [*first, *further])
    given = (values[name] for name in sorted(values) if values[name].present)
    # A flag that may be repeated is a line each time.
    return shlex.join(line for flag in given for line in flag.serialize().splitlines())


def split(text: str) -> list[str]:
    """The flags of such a line."""
    return shlex.split(text)
