"""A study: its flagfiles, and the options and commands that they give."""

from __future__ import annotations

import dataclasses
from typing import Any

from semicml_tf import commandline


@dataclasses.dataclass(frozen=True)
class Study:
    """The flagfiles of a study, in order. A later file overrides an earlier one."""

    flagfiles: tuple[str, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """The arguments that pass the flagfiles to a command."""
        return tuple(f"--flagfile={path}" for path in self.flagfiles)

    def options(self, command: str) -> dict[str, Any]:
        """The options of a command with this study, by name, before other arguments.

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
