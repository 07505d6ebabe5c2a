"""What all commands share: flags, flagfiles, help, and one line for a user's mistake.

A command is a module with ``define_flags(values)`` and ``main(values)``, both taking an absl `FlagValues`,
that ends with ``if __name__ == "__main__": commandline.run(__spec__.name)``. Its docstring is its help.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import sys
import textwrap
from collections.abc import Sequence

from absl import flags

from semicml_tf.errors import UserError

# One flagfile describes a study and serves every command: a flag in it that belongs to one of these,
# though not to the command that runs, is passed over. On the command line itself it is an error.
COMMANDS = tuple(f"semicml_tf.{name}" for name in ("phantom", "convert", "train", "evaluate", "export", "predict"))


def _command_module(name: str):
    # A package (phantom/) keeps its command in a file of its own; __main__ only starts it.
    module = importlib.import_module(name)
    return module if hasattr(module, "define_flags") else importlib.import_module(f"{name}.command")


def _flag_values(module) -> flags.FlagValues:
    values = flags.FlagValues()
    module.define_flags(values)
    return values


def _names_of_all_commands() -> set[str]:
    names: set[str] = set()
    for command in COMMANDS:
        if importlib.util.find_spec(command) is not None:
            names.update(_flag_values(_command_module(command)))
    return names


def _name_of(argument: str) -> str:
    return argument.lstrip("-").partition("=")[0]


def _is_known(name: str, values: flags.FlagValues) -> bool:
    return name in values or (name.startswith("no") and name[2:] in values)


def _check_known(arguments: Sequence[str], values: flags.FlagValues, others: set[str], source: str | None) -> list[str]:
    """Returns the arguments without another command's flags; raises on flags that nobody knows."""
    kept = []
    for argument in arguments:
        name = _name_of(argument)
        if not argument.startswith("--"):
            if source is not None:
                raise UserError(f"expected one --flag=value a line, got '{argument}'", path=source)
            kept.append(argument)
        elif _is_known(name, values):
            kept.append(argument)
        elif source is not None and (name in others or (name.startswith("no") and name[2:] in others)):
            continue
        else:
            near = difflib.get_close_matches(name, list(values), n=1)
            hint = f"Did you mean --{near[0]}?" if near else "See --help"
            raise UserError(f"unknown flag --{name}", path=source, remedy=hint)
    return kept


def parse(name: str, arguments: Sequence[str]) -> tuple[flags.FlagValues, list[str]]:
    """Parses a command's arguments.

    Args:
        name: module of the command, e.g. ``semicml_tf.train``.
        arguments: without the program's name.

    Returns:
        The flags and the positional arguments.

    Raises:
        UserError: an unknown flag, a value of the wrong type, a flagfile that is not there.
    """
    values = _flag_values(_command_module(name))
    expanded: list[str] = []
    arguments = list(arguments)
    while arguments:
        argument = arguments.pop(0)
        if _name_of(argument) == "flagfile" and argument.startswith("-"):
            path = argument.partition("=")[2] or (arguments.pop(0) if arguments else "")
            if not os.path.isfile(path):
                raise UserError("expected a flagfile, but there is no such file", path=path or "--flagfile")
            lines = flags.FlagValues().read_flags_from_files([f"--flagfile={path}"])
            expanded += _check_known(lines, values, _names_of_all_commands(), path)
        else:
            expanded.append(argument)
            # "--name value" in two words: the value is no argument of its own.
            known = _name_of(argument)
            takes_value = known in values and not isinstance(values[known], flags.BooleanFlag)
            if argument.startswith("--") and "=" not in argument and takes_value and arguments:
                expanded[-1] = f"{argument}={arguments.pop(0)}"
    kept = _check_known(expanded, values, set(), None)
    try:
        positional = values([name, *kept])[1:]
    except flags.Error as error:
        raise UserError(str(error), remedy="See --help") from error
    return values, positional


def help_text(name: str) -> str:
    """The command's docstring and its flags, in the order of their definition."""
    module = _command_module(name)
    values = flags.FlagValues()
    module.define_flags(values)
    lines = [(module.__doc__ or "").strip(), "", "Flags:"]
    for flag in values.get_flags_for_module(module) or [values[n] for n in values]:
        default = "" if flag.default in (None, "", []) else f" (default: {flag.default_as_str})"
        lines.append(f"  --{flag.name}")
        lines += textwrap.wrap(f"{flag.help}{default}", 96, initial_indent="      ", subsequent_indent="      ")
    lines += ["  --flagfile", "      File with one --flag=value a line; flags after it on the command line win."]
    return "\n".join(lines)


def call(name: str, arguments: Sequence[str]) -> None:
    """Runs a command in this process, as ``python -m NAME ARGUMENTS`` would.

    Raises:
        UserError: a mistake in the arguments or the input.
    """
    values, positional = parse(name, arguments)
    module = _command_module(name)
    # A command may take its main flags without their names, in the order of its POSITIONAL.
    names = getattr(module, "POSITIONAL", ())
    if len(positional) > len(names):
        raise UserError(f"unexpected argument '{positional[len(names)]}'", remedy="Write --name=value; see --help")
    for flag, value in zip(names, positional):
        values[flag].parse(value)
    module.main(values)


def run(name: str, arguments: Sequence[str] | None = None) -> None:
    """Runs a command and leaves the process: 0 if all went well, 2 and one line on a user's mistake."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if any(argument in ("--help", "-h", "-help", "--helpfull", "--helpshort") for argument in arguments):
        print(help_text(name))
        sys.exit(0)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        call(name, arguments)
    except UserError as error:
        print(f"{name}: error: {error.line}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        sys.exit(130)
    sys.exit(0)
