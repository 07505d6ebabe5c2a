"""The commands of semicml_tf by their short names: ``semicml train`` is ``python -m semicml_tf.train``."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence

from semicml_tf import commandline

COMMANDS = {
    **{name.rpartition(".")[2]: name for name in commandline.COMMANDS},
    "serve": "semicml_tf.serving.server",
    "client": "semicml_tf.serving.client",
    "route": "semicml_tf.serving.route",
}


def help_text() -> str:
    """The commands, each with the first sentence of its help."""
    width = max(map(len, COMMANDS))
    lines = ["semicml COMMAND [FLAGS]: segmentation networks, one per modality, trained together with few labels.", ""]
    lines += [f"  {name:<{width}}  {commandline.summary(module)}" for name, module in COMMANDS.items()]
    return "\n".join([*lines, "", "semicml COMMAND --help shows the flags of a command."])


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command that the first argument names, and leaves the process."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    name = arguments[0] if arguments else "--help"
    if name in ("--help", "-h", "-help", "help"):
        print(help_text())
        sys.exit(0)
    if name == "--version":
        print(importlib.import_module("semicml_tf").__version__)
        sys.exit(0)
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        remedy = f"Did you mean {near[0]}?" if near else "See semicml --help."
        print(f"semicml: error: expected a command, got '{name}'. {remedy}", file=sys.stderr)
        sys.exit(2)
    commandline.run(COMMANDS[name], arguments[1:])


if __name__ == "__main__":
    main()
