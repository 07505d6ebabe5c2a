"""Flags of a command from the flagfile of a study. Cache keys thus depend on values, not on the path of the file."""

from __future__ import annotations

import shlex

from semicml_tf import commandline


def flags_of(command: str, study: str | None, *further: str) -> str:
    """The flags of a command from a study and `further`, as a text for `split`.

    Args:
        command: e.g. ``semicml_tf.train``.
        study: path of a flagfile; None for none.
        further: flags that override those of the study.

    Raises:
        UserError: the flagfile cannot be read, or a flag is unknown.
    """
    first = [f"--flagfile={study}"] if study else []
    values, _ = commandline.parse(command, [*first, *further])
    given = (values[name] for name in sorted(values) if values[name].present)
    # A repeated flag has several lines.
    return shlex.join(line for flag in given for line in flag.serialize().splitlines())


def split(text: str) -> list[str]:
    """Splits a text of `flags_of` into flags."""
    return shlex.split(text)
