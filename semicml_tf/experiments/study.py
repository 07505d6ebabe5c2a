"""A study: the flagfiles that describe it, and the commands that they are handed to."""

from __future__ import annotations

import dataclasses
from typing import Any

from semicml_tf import commandline


@dataclasses.dataclass(frozen=True)
class Study:
    """The flagfiles of a study, in their order; a later one overrules an earlier."""

    flagfiles: tuple[str, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """The arguments that hand them on."""
        return tuple(f"--flagfile={path}" for path in self.flagfiles)

    def options(self, command: str) -> dict[str, Any]:
        """The options of a command with this study, by name, where other arguments are still to come.

        Raises:
            UserError: an unknown flag, or a value that it does not take.
        """
        return commandline.options(f"semicml_tf.{command}", self.words)

    def config(self, command: str, *arguments: str) -> Any:
        """The config of a command with this study, and with `arguments` after it.

        Raises:
            UserError: an unknown flag, a value that it does not take, or options that contradict each other.
        """
        return commandline.config(f"semicml_tf.{command}", [*self.words, *arguments])

    def call(self, command: str, *arguments: str) -> tuple[str, ...]:
        """Words of a process that runs the command with this study, without the interpreter."""
        return ("-m", f"semicml_tf.{command}", *self.words, *arguments)
