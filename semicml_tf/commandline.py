"""What all commands share: flags, flagfiles, help, and one line for a user's mistake.

A command is a module with ``define_flags(values)`` and ``main(values)``, both taking an absl `FlagValues`,
that ends with ``if __name__ == "__main__": commandline.run(__spec__.name)``. Its docstring is its help.
"""

from __future__ import annotations

import difflib
import importlib
import os
import pathlib
import re
import signal
import sys
import textwrap
import time
from collections.abc import Container, Sequence
from typing import NoReturn

from absl import flags

from semicml_tf.errors import Terminated, UserError

# One flagfile describes a study and serves every command: a flag in it that belongs to one of these,
# though not to the command that runs, is passed over. On the command line itself it is an error.
COMMANDS = tuple(
    f"semicml_tf.{name}"
    for name in ("phantom", "convert", "inspect", "train", "evaluate", "report", "export", "predict", "experiment")
)
# A command that hands the flagfiles on to others defines a flag of this name, and finds their paths in it.
FLAGFILE = "flagfile"


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
        names.update(_flag_values(_command_module(command)))
    return names


def _name_of(argument: str) -> str:
    return argument.lstrip("-").partition("=")[0]


def _is_known(name: str, values: Container[str]) -> bool:
    return name in values or (name.startswith("no") and name[2:] in values)


def _takes_value(name: str, values: flags.FlagValues) -> bool:
    return name in values and not isinstance(values[name], flags.BooleanFlag)


def _check_known(name: str, values: flags.FlagValues, source: str | None) -> None:
    if not _is_known(name, values):
        near = difflib.get_close_matches(name, list(values), n=1)
        raise UserError(
            f"unknown flag --{name}", path=source, remedy=f"Meant may be --{near[0]}" if near else "See --help"
        )


def _flagfile_lines(path: str, within: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """The flags of a file and of the files that it names, each with the file it stands in.

    absl reads flagfiles, too, but a missing nested one, a circle of them or a line without ``=`` that
    swallows the next would pass it as a stack trace, a warning, or not noticed at all.
    """
    if path in within:
        raise UserError(f"this flagfile includes itself: {' -> '.join((*within, path))}", path=path)
    try:
        text = pathlib.Path(path).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        where = f" named in {within[-1]}" if within else ""
        raise UserError(
            f"expected a flagfile{where}, but it cannot be read ({reason})", path=path or "--flagfile"
        ) from error
    lines = []
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        if not line or line.startswith(("#", "//")):
            continue
        if not re.match(r"--\w+(=|$)", line):
            raise UserError(f"line {number}: expected one --flag=value a line, got '{line[:80]}'", path=path)
        if line.startswith("--flagfile="):
            lines += _flagfile_lines(line.partition("=")[2], (*within, path))
        else:
            lines.append((line, path))
    return lines


def _from_flagfile(path: str, values: flags.FlagValues) -> list[str]:
    """The file's flags that this command knows; raises on those that no command knows."""
    others = _names_of_all_commands()
    kept = []
    for line, source in _flagfile_lines(path):
        name = _name_of(line)
        if _is_known(name, values):
            if _takes_value(name, values) and "=" not in line:
                raise UserError(f"flag --{name} has no value", path=source, remedy=f"Write --{name}=VALUE")
            kept.append(line)
        elif not _is_known(name, others):
            _check_known(name, values, source)
    return kept


def parse(name: str, arguments: Sequence[str]) -> tuple[flags.FlagValues, list[str]]:
    """Parses a command's arguments.

    Args:
        name: module of the command, e.g. ``semicml_tf.train``.
        arguments: without the program's name.

    Returns:
        The flags and the positional arguments.

    Raises:
        UserError: an unknown flag, a value of the wrong type, a flagfile that cannot be read.
    """
    values = _flag_values(_command_module(name))
    expanded: list[str] = []
    flagfiles: list[str] = []
    arguments = list(arguments)
    while arguments:
        argument = arguments.pop(0)
        known = _name_of(argument)
        if argument == "--":  # all that follows is positional, as everywhere
            expanded += [argument, *arguments]
            break
        if known == FLAGFILE and argument.startswith("-"):
            path = argument.partition("=")[2] or (arguments.pop(0) if arguments else "")
            expanded += _from_flagfile(path, values)
            flagfiles.append(path)
        elif argument.startswith("--"):
            _check_known(known, values, None)
            # "--name value" in two words: the value is no argument of its own.
            if "=" not in argument and _takes_value(known, values) and arguments:
                argument = f"{argument}={arguments.pop(0)}"
            expanded.append(argument)
        else:
            expanded.append(argument)
    try:
        positional = values([name, *expanded])[1:]
    except flags.Error as error:
        raise UserError(str(error), remedy="See --help") from error
    if FLAGFILE in values:
        values[FLAGFILE].value = flagfiles
    return values, positional


def help_text(name: str) -> str:
    """The command's docstring and its flags, in the order of their definition."""
    module = _command_module(name)
    values = flags.FlagValues()
    module.define_flags(values)
    lines = [(module.__doc__ or "").strip(), "", "Flags:"]
    for flag in (values[flag] for flag in values if flag != FLAGFILE):
        default = "" if flag.default in (None, "", []) else f" (default: {flag.default_as_str})"
        lines.append(f"  --{flag.name}")
        for line in f"{flag.help}{default}".splitlines():
            lines += textwrap.wrap(line.strip(), 96, initial_indent="      ", subsequent_indent="      ")
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
    if getattr(module, "POSITIONAL_REPEATS", False):  # the last one is a list
        names += names[-1:] * (len(positional) - len(names))
    if len(positional) > len(names):
        raise UserError(f"unexpected argument '{positional[len(names)]}'", remedy="Write --name=value; see --help")
    for flag, value in zip(names, positional):
        values[flag].parse(value)
    module.main(values)


def run(name: str, arguments: Sequence[str] | None = None) -> None:
    """Runs a command and leaves the process: 0 if all went well, 2 and one line on a user's mistake."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if any(argument in ("--help", "-h", "-help", "--helpfull", "--helpshort") for argument in arguments):
        try:
            print(help_text(name), flush=True)
        except BrokenPipeError:  # e.g. piped into head
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    # So that what is half written is cleared away; a command may have a way of its own to end.
    former = signal.signal(signal.SIGTERM, _terminate) or signal.SIG_DFL
    # A name that is not UTF-8 can be printed, too.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    # What matters of TensorFlow's native log comes as an exception, too.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        call(name, arguments)
    except UserError as error:
        print(f"{name}: error: {error.line}", file=sys.stderr)
        _leave(2)
    except KeyboardInterrupt as error:
        terminated = isinstance(error, Terminated)
        print(f"{name}: {'terminated' if terminated else 'interrupted'}", file=sys.stderr)
        _leave(143 if terminated else 130)
    finally:
        signal.signal(signal.SIGTERM, former)
    _leave(0)


# Whoever ends a process and its group tells it twice; the second word must not break off the clearing up.
_ONCE_S = 10.0
_told_at = float("-inf")


def _terminate(*_) -> None:
    global _told_at
    before, _told_at = _told_at, time.monotonic()
    if _told_at - before > _ONCE_S:
        raise Terminated


_teardown_aborts = False


def leave_without_teardown() -> None:
    """To be called by who has loaded native code that aborts when the process is taken down in an orderly way."""
    global _teardown_aborts
    _teardown_aborts = True


def _leave(code: int) -> NoReturn:
    if _teardown_aborts:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
