"""Flags that `semicml_tf.evaluate` had in earlier versions, and the commands that have them now."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from semicml_tf.errors import UserError

_DIAGNOSES = {"relearning": "relearning", "similarity": "similarity", "write_labels": "labels"}


def check_arguments(arguments: Sequence[str]) -> None:
    """Raises UserError with the new command line if a flag of an earlier version is given."""
    names = [argument.lstrip("-").partition("=")[0] for argument in arguments if argument.startswith("-")]
    moved = next((name for name in names if name in ("compare", "truth", *_DIAGNOSES)), None)
    if moved is None:
        return
    command = "compare" if moved == "compare" else "diagnose"
    words = ["python", "-m", f"semicml_tf.{command}", *_translated(arguments, command)]
    raise UserError(f"--{moved} has moved to semicml_tf.{command}", remedy=f"Run: {shlex.join(words)}")


def _translated(arguments: Sequence[str], command: str) -> list[str]:
    words, rest = [], list(arguments)
    while rest:
        argument = rest.pop(0)
        name, equals, value = argument.lstrip("-").partition("=")
        if not argument.startswith("-"):
            words.append(argument)
        elif name in ("run", "compare"):
            value = value if equals or not rest else rest.pop(0)
            words += value.split(",") if name == "compare" else [value]
        elif name in _DIAGNOSES:
            words.append(f"--diagnosis={_DIAGNOSES[name]}")
        else:
            words.append(argument)
    if command == "diagnose" and not any(word.startswith("--diagnosis=") for word in words):
        words.append("--diagnosis=relearning")  # --truth alone
    return words
