"""Shared parts of all commands: flags, flagfiles, help, and one-line errors for users' mistakes.

A command is a module with ``CONFIG``, a config class (see `configuration`), and ``main(config)``. It ends with
``if __name__ == "__main__": commandline.run("package.module")``. Its docstring is its help. ``POSITIONAL`` names the
options that may be passed without their names. ``check_arguments(arguments)`` is optional and may refuse arguments
before they are parsed. ``AFTER_INTERRUPT`` describes the state after Ctrl-C, and how to continue.
"""

from __future__ import annotations

import difflib
import importlib
import os
import signal
import sys
import time
from collections.abc import Container, Sequence
from typing import Any, NoReturn

from absl import flags

from semicml_tf import command_help, configuration, flagfile
from semicml_tf.errors import (
    SYSTEM_REFUSALS,
    Interrupted,
    Terminated,
    UserError,
    exhausted,
    printable,
    refused,
    stop_error,
    stop_signals,
)
from semicml_tf.system import progress

# One flagfile describes a study for all commands. A command skips flags in it that belong only to other commands of
# this list. On the command line itself, such a flag is an error.
COMMANDS = tuple(
    f"semicml_tf.{name}"
    for name in (
        "phantom",
        "convert",
        "inspect",
        "train",
        "evaluate",
        "compare",
        "diagnose",
        "report",
        "export",
        "predict",
        "experiment",
        "crossvalidate",
    )
)
# A command that passes the flagfiles to other commands defines a flag of this name, which gets their paths.
FLAGFILE = "flagfile"


def _command_module(name: str):
    # The command of a package (phantom/) is in its module `command`; __main__ only starts it.
    module = importlib.import_module(name)
    if hasattr(module, "CONFIG"):
        return module
    return importlib.import_module(f"{name}.command")


def _flag_values(module) -> flags.FlagValues:
    values = flags.FlagValues()
    define(module.CONFIG, values)
    return values


class _Parser(flags.ArgumentParser):
    """Checks the text of an option. Single values are converted; a list stays a list of texts."""

    def __init__(self, *, option: configuration.Option):
        self.option = option
        self.syntactic_help = ""

    def parse(self, argument: Any) -> Any:
        option = self.option
        # Defaults and copied flags are not texts.
        if option.is_list:
            texts = flags.ListParser().parse(argument)
            value = option.from_texts(texts)
        else:
            value = texts = option.from_text(argument) if isinstance(argument, str) else argument
        if problems := option.problems(value):
            raise configuration.refusal(problems)
        return texts


def define(config_class: type, values: flags.FlagValues) -> None:
    """Defines a flag for each option of a config class."""
    for option in configuration.options(config_class):
        default = option.default
        if option.is_list:
            elements = (default,) if option.single else default or ()
            default = [configuration.text_of(element) for element in elements]
        if option.repeated:
            flags.DEFINE_multi_string(option.name, default, option.help, flag_values=values)
        elif option.kind is bool:
            flags.DEFINE_boolean(option.name, default, option.help, flag_values=values)
        else:
            serializer = flags.CsvListSerializer(",") if option.is_list else flags.ArgumentSerializer()
            flags.DEFINE(_Parser(option=option), option.name, default, option.help, values, serializer)


def config_from(config_class: type, values: flags.FlagValues) -> Any:
    """Makes the config from parsed flags.

    Raises:
        UserError: an option is missing, or options contradict each other.
    """
    return configuration.make(config_class, _given(config_class, values))


def _given(config_class: type, values: flags.FlagValues) -> dict[str, Any]:
    given = {}
    for option in configuration.options(config_class):
        if values[option.name].present:
            value = values[option.name].value
            given[option.name] = option.from_texts(value) if option.is_list else value
    return given


def flags_of(name: str) -> flags.FlagValues:
    """The flags of a command with their defaults."""
    return _flag_values(_command_module(name))


def _names_of_all_commands() -> set[str]:
    return {flag for command in COMMANDS for flag in flags_of(command)}


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
            f"unknown flag --{name}", path=source, remedy=f"Did you mean --{near[0]}?" if near else "See --help"
        )


def _from_flagfile(path: str, values: flags.FlagValues) -> list[str]:
    """The flags of a file that belong to this command.

    Raises:
        UserError: a flag belongs to no command, or has no value.
    """
    others = _names_of_all_commands()
    kept = []
    for line, source in flagfile.lines(path):
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
        if argument == "--":  # all further arguments are positional
            expanded += [argument, *arguments]
            break
        if known == FLAGFILE and argument.startswith("-"):
            path = argument.partition("=")[2] or (arguments.pop(0) if arguments else "")
            expanded += _from_flagfile(path, values)
            flagfiles.append(path)
        elif argument.startswith("--"):
            _check_known(known, values, None)
            # "--name value" in two words: the second word is not an argument.
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
        values[FLAGFILE].present = len(flagfiles)
    return values, positional


def help_text(name: str) -> str:
    """The text of ``--help`` for a command."""
    return command_help.text(_command_module(name), hidden=(FLAGFILE,))


def summary(name: str) -> str:
    """The first line of a command's help."""
    return (_command_module(name).__doc__ or "").strip().partition("\n")[0]


def config(name: str, arguments: Sequence[str]) -> Any:
    """Makes the config of a command from its arguments.

    Raises:
        UserError: as `parse`; an option is missing, or options contradict each other.
    """
    module = _command_module(name)
    if hasattr(module, "check_arguments"):
        module.check_arguments(arguments)
    values, positional = parse(name, arguments)
    # POSITIONAL has the flags that may be passed without their names, in order.
    names = getattr(module, "POSITIONAL", ())
    if getattr(module, "POSITIONAL_REPEATS", False):  # the last flag is a list
        names += names[-1:] * (len(positional) - len(names))
    if len(positional) > len(names):
        raise UserError(f"unexpected argument '{positional[len(names)]}'", remedy="Write --name=value; see --help")
    for flag, value in zip(names, positional):
        values[flag].parse(value)
    return config_from(module.CONFIG, values)


def options(name: str, arguments: Sequence[str]) -> dict[str, Any]:
    """The options of a command by name, each checked alone. A missing required option is None.

    Raises:
        UserError: as `parse`.
    """
    values, positional = parse(name, arguments)
    if positional:
        raise UserError(f"unexpected argument '{positional[0]}'", remedy="Write --name=value; see --help")
    config_class = _command_module(name).CONFIG
    return {option.name: option.default for option in configuration.options(config_class)} | _given(
        config_class, values
    )


def call(name: str, arguments: Sequence[str]) -> None:
    """Runs a command in this process, like ``python -m NAME ARGUMENTS``.

    Raises:
        UserError: a mistake in the arguments or the input.
    """
    _command_module(name).main(config(name, arguments))


def show(result: Any) -> None:
    """Prints the ``warnings`` of a job's result on stderr, and its ``text`` on stdout.

    Raises:
        UserError: the ``problem`` of the result, e.g. cases that failed.
    """
    for line in getattr(result, "warnings", ()):
        print(line, file=sys.stderr)
    if result.text:
        print(result.text)
    if getattr(result, "problem", None):
        raise result.problem


def run(name: str, arguments: Sequence[str] | None = None) -> None:
    """Runs a command and ends the process.

    The exit code is 0 after success, 2 after an error that is reported in one line, or 128 plus the number of the
    signal that stopped the command.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if any(argument in ("--help", "-h", "-help", "--helpfull", "--helpshort") for argument in arguments):
        try:
            print(help_text(name), flush=True)
        except BrokenPipeError:  # e.g. piped into head
            _discard_stdout()
        sys.exit(0)
    # Signals raise an exception, so that incomplete files are removed. Commands may replace these handlers.
    former = {number: signal.signal(number, _stop) or signal.SIG_DFL for number in stop_signals()}
    # Names that are not UTF-8 can then be printed, too.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    # Errors in TensorFlow's native log are also raised as exceptions.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        try:
            call(name, arguments)
        finally:
            progress.close_all()
    except UserError as error:
        print(f"{name}: error: {error.line}", file=sys.stderr)
        _leave(2)
    except KeyboardInterrupt as error:
        message, code = _interruption(name, error, arguments)
        print(f"{name}: {printable(message)}", file=sys.stderr)
        _leave(code)
    except (MemoryError, RecursionError) as error:
        print(f"{name}: error: {exhausted(error).line}", file=sys.stderr)
        _leave(2)
    except BrokenPipeError:  # the reader of the output has ended, e.g. head
        _discard_stdout()
        _leave(128 + signal.SIGPIPE)
    except OSError as error:
        if error.errno not in SYSTEM_REFUSALS:
            raise
        print(f"{name}: error: {refused(error).line}", file=sys.stderr)
        _leave(2)
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
    _leave(0)


def _interruption(name: str, error: KeyboardInterrupt, arguments: Sequence[str]) -> tuple[str, int]:
    """The message and the exit code of a command that a signal stopped."""
    if isinstance(error, Interrupted):
        return str(error), 128 + error.number
    word, number = ("terminated", signal.SIGTERM) if isinstance(error, Terminated) else ("interrupted", signal.SIGINT)
    rest = getattr(_command_module(name), "AFTER_INTERRUPT", "")
    if {"--dry_run", "--dry_run=true"} & set(arguments):
        rest = "Nothing was written."
    return f"{word}. {rest}" if rest else word, 128 + number


def end_by_signal(name: str, number: int) -> NoReturn:
    """Ends the process at once, from any thread, with the message and exit code of `run` after a signal."""
    message, code = _interruption(name, stop_error(number)(), ())
    os.write(2, f"\n{name}: {printable(message)}\n".encode())
    os._exit(code)


def _discard_stdout() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# A process and its group often get one signal each. The second signal must not interrupt the cleanup.
_ONCE_S = 10.0
_stopped_at = float("-inf")


def _stop(number: int, _) -> None:
    global _stopped_at
    before, _stopped_at = _stopped_at, time.monotonic()
    if _stopped_at - before > _ONCE_S:
        raise stop_error(number)


_teardown_aborts = False


def leave_without_teardown() -> None:
    """Makes `run` end without interpreter shutdown. Call it after loading native code that aborts at shutdown."""
    global _teardown_aborts
    _teardown_aborts = True


def _leave(code: int) -> NoReturn:
    if _teardown_aborts:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
