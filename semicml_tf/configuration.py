"""Configurations: frozen dataclasses that describe a job, one field for each option, checked as a whole.

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class ScaleConfig:
        input: str = option(help="Folder of the images.", path=True)
        factor: float = option(1.0, "Factor on every value.", above=0)

        def __post_init__(self):
            check(self)

The type of an option is its annotation: ``bool``, ``int``, ``float`` or ``str``, any of these ``| None``, or a tuple
of them (``tuple[int, ...]``, ``tuple[float, float, float]``), or either (``int | tuple[int, int, int]``). `commandline`
makes one flag of each option.
"""

from __future__ import annotations

import csv
import dataclasses
import difflib
import functools
import io
import math
import numbers
import operator
import os
import shlex
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from semicml_tf.errors import UserError

MISSING = dataclasses.MISSING
# A problem and its remedy, which is empty where the problem says it all.
Problem = tuple[str, str]
_NOUNS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
_PLURALS = {bool: "true or false", int: "whole numbers", float: "numbers", str: "texts"}


class _Required:
    """The value of an option without a default that was not given."""

    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED = _Required()


@dataclasses.dataclass(frozen=True)
class Option:
    """One option of a config class.

    Attributes:
        name: of the field and of the flag.
        kind: type of the value, or of each element of a list.
        optional: whether None is a value.
        is_list: whether the value is a tuple.
        single: whether one element alone may stand for a list, and is the value then.
        length: number of its elements; None means any number.
        default: None may also mean that there is no default, see `required`.
        required: whether a value must be given.
        help: one or two sentences.
        choices: the texts that are values; empty means any text.
        former: names that choices had in earlier versions, each with the choice that it means.
        low: lowest number.
        high: highest number.
        above: number that a value must exceed.
        group: heading under which the help shows the option.
        path: whether a `pathlib.Path` is a value.
        repeated: whether the flag may be given several times, each time with one element of the list.
    """

    name: str
    kind: type
    optional: bool
    is_list: bool
    single: bool
    length: int | None
    default: Any
    required: bool
    help: str
    choices: tuple[str, ...]
    former: Mapping[str, str]
    low: float | None
    high: float | None
    above: float | None
    group: str
    path: bool
    repeated: bool

    @property
    def limits(self) -> str:
        """The range of the numbers in words; empty where any number is a value."""
        if self.above is not None:
            return f"above {text_of(self.above)}" + (
                f" and up to {text_of(self.high)}" if self.high is not None else ""
            )
        if self.low is not None and self.high is not None:
            return f"from {text_of(self.low)} to {text_of(self.high)}"
        if self.low is not None:
            return f"of at least {text_of(self.low)}"
        return f"of at most {text_of(self.high)}" if self.high is not None else ""

    @property
    def expected(self) -> str:
        """What a value must be, in words."""
        if not self.is_list:
            return f"one of {', '.join(self.choices)}" if self.choices else f"{_NOUNS[self.kind]} {self.limits}".strip()
        if self.single:
            return f"{_NOUNS[self.kind]} {self.limits}, or {self.length} of them separated by commas"
        each = f"out of {', '.join(self.choices)}" if self.choices else self.limits
        count = "" if self.length is None else f"{self.length} "
        return f"{count}{_PLURALS[self.kind]} {each}".strip() + ", separated by commas"

    def from_text(self, text: str) -> Any:
        """The value, or one of the texts of a list, from the command line. An empty text unsets an optional number.

        Raises:
            UserError: the text is no number.
        """
        if not text and self.optional and self.kind is not str:
            return None
        try:
            return self._normal(self.kind(text))
        except ValueError:
            raise refusal([self._refused(text)]) from None

    def from_texts(self, texts: Sequence[str]) -> Any:
        """The list from its elements on the command line; the element itself where one may stand alone.

        Raises:
            UserError: one of them is no number.
        """
        try:
            values = tuple(self.kind(text) for text in texts)
            return values[0] if self.single and len(values) == 1 else values
        except ValueError:
            raise refusal([self._refused(tuple(texts))]) from None

    def normal(self, value: Any) -> Any:
        """`value` with its usual type: lists become tuples, paths become text, numbers Python's own.

        A former name becomes the choice that it means.
        """
        if self.is_list and isinstance(value, (list, tuple)):
            return tuple(self._normal(one) for one in value)
        return value if self.is_list and not self.single else self._normal(value)

    def _normal(self, value: Any) -> Any:
        if self.path and isinstance(value, os.PathLike):
            return os.fspath(value)
        if isinstance(value, str):
            return self.former.get(value, value)
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            return value
        if self.kind is float:
            return float(value)
        if self.kind is int and isinstance(value, numbers.Integral):
            return operator.index(value)
        return value

    def problems(self, value: Any) -> list[Problem]:
        """What is wrong with a value that `normal` gave; empty if nothing is."""
        if self.required and (value is REQUIRED or value is None or value in ("", ())):
            return [(f"expected --{self.name}, which is missing", "See --help")]
        if value is None and self.optional:
            return []
        if not self.is_list or (self.single and not isinstance(value, tuple)):
            return [] if self._fits(value) else [self._refused(value)]
        wrong = not isinstance(value, tuple) or self.length not in (None, len(value))
        if wrong or not all(self._fits(one) for one in value):
            return [self._refused(value)]
        return []

    def _fits(self, value: Any) -> bool:
        if type(value) is not self.kind:
            return False
        if self.choices and value not in self.choices:
            return False
        if self.kind not in (int, float):
            return True
        inside = (self.low is None or value >= self.low) and (self.high is None or value <= self.high)
        return math.isfinite(value) and inside and (self.above is None or value > self.above)

    def _refused(self, value: Any) -> Problem:
        text = f"'{as_list(value)}'" if isinstance(value, (list, tuple)) else f"'{value}'"
        remedy = ""  # the problem names the flag and what it must be
        if self.is_list and not self.single and isinstance(value, str):
            text, remedy = f"the text {text}", "Pass a tuple of values"
        elif self.choices and isinstance(value, str) and (near := difflib.get_close_matches(value, self.choices, n=1)):
            remedy = f"Did you mean --{self.name}={near[0]}?"
        return f"expected --{self.name} to be {self.expected}, got {text}", remedy


def option(
    default: Any = MISSING,
    help: str = "",
    *,
    choices: Iterable[str] | None = None,
    former: Mapping[str, str] | None = None,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    group: str = "",
    items: type | None = None,
    path: bool = False,
    repeated: bool = False,
) -> Any:
    """A field of a config dataclass; see the attributes of `Option`.

    Args:
        default: a tuple makes a list; without a default, the option is required.
        help: one or two sentences, for people.
        choices: the texts that are values.
        former: former names of choices, each with the choice that it means.
        low: lowest number.
        high: highest number.
        above: number that a value must exceed.
        group: heading of the option in the help.
        items: type of a list's elements, where the annotation does not give it.
        path: whether the text is a path.
        repeated: whether a list's flag is given once for each element, which may then hold commas.
    """
    facts = {
        "help": help, "choices": tuple(choices or ()), "former": former or {}, "low": low, "high": high, "above": above,
        "group": group, "items": items, "path": path, "repeated": repeated,
    }  # fmt: skip
    return dataclasses.field(default=REQUIRED if default is MISSING else default, metadata=facts)


@functools.cache
def options(config_class: type) -> tuple[Option, ...]:
    """The options of a config class, in the order of its fields."""
    types_by_name = typing.get_type_hints(config_class)
    return tuple(_option(field, types_by_name[field.name]) for field in dataclasses.fields(config_class))


def _option(field: dataclasses.Field, annotation: Any) -> Option:
    facts = dict(field.metadata)
    items = facts.pop("items")
    members = [annotation]
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        members = list(typing.get_args(annotation))
    optional = type(None) in members
    kinds = [member for member in members if member is not type(None)]
    lists = [member for member in kinds if typing.get_origin(member) is tuple or member is tuple]
    (kind,) = lists or kinds
    single, length = len(kinds) > len(lists) > 0, None
    if lists:
        elements = typing.get_args(kind)
        length = len(elements) if elements and Ellipsis not in elements else None
        kind = items or (elements[0] if elements else str)
    if kind not in _NOUNS:
        raise TypeError(f"option {field.name} has a type that no flag has: {annotation}")
    required = field.default is REQUIRED
    return Option(
        name=field.name,
        kind=kind,
        optional=optional,
        is_list=bool(lists),
        single=single,
        length=length,
        default=None if required else field.default,
        required=required,
        **facts,
    )


def refusal(problems: Sequence[Problem]) -> UserError:
    """One error for all problems, each with its remedy, if there is any."""
    if len(problems) == 1:
        return UserError(problems[0][0], remedy=problems[0][1] or None)
    return UserError("; ".join(f"{problem} ({remedy})" if remedy else problem for problem, remedy in problems))


def check(config: Any, further: Iterable[Problem] = ()) -> None:
    """Checks a config when it is made, and gives its values their usual types.

    Args:
        config: instance of a config dataclass, from its ``__post_init__``.
        further: problems of options that contradict each other. A generator is read only if each option is right.

    Raises:
        UserError: an option is missing, has another type, is none of its choices, or is out of range. The message
            names all of them.
    """
    problems = []
    for one in options(type(config)):
        value = one.normal(getattr(config, one.name))
        object.__setattr__(config, one.name, value)  # the dataclass is frozen
        problems += one.problems(value)
    problems = problems or list(further)
    if problems:
        raise refusal(problems)


def make(config_class: type, given: Mapping[str, Any]) -> Any:
    """The config with these options, which it remembers as given; see `given`.

    A class may have a class method ``of_given(options)``, for defaults that depend on which options were given.
    """
    config = getattr(config_class, "of_given", lambda options: config_class(**options))(dict(given))
    object.__setattr__(config, "_given", tuple(one.name for one in options(config_class) if one.name in given))
    return config


def given(config: Any) -> tuple[str, ...]:
    """The names of the options that the user gave, even at their defaults; of a config made in Python, the others."""
    names = getattr(config, "_given", None)
    if names is None:
        names = tuple(one.name for one in options(type(config)) if getattr(config, one.name) != one.default)
    return names


def as_flags(config: Any, names: Iterable[str] | None = None) -> list[str]:
    """The command-line arguments that reproduce a config, one per element.

    Args:
        config: instance of a config dataclass.
        names: the options to write; all of them if not given.
    """
    chosen = None if names is None else set(names)
    lines = []
    for one in options(type(config)):
        value = getattr(config, one.name)
        if value is None or (chosen is not None and one.name not in chosen):
            continue
        if one.kind is bool and not one.is_list:
            lines.append(f"--{one.name}" if value else f"--no{one.name}")
        elif one.repeated:
            lines += [f"--{one.name}={text_of(element)}" for element in value]
        else:
            lines.append(f"--{one.name}={as_list(value) if isinstance(value, tuple) else value}")
    return lines


def flagfile_lines(config: Any, names: Iterable[str] | None = None) -> list[str]:
    """As `as_flags`, for a flagfile with one argument per line.

    Raises:
        UserError: a value does not fit into one line: it has a line break, or white space at its end.
    """
    lines = as_flags(config, names)
    for line in lines:
        if line.rstrip().splitlines() != [line]:
            name, _, value = line.partition("=")
            problem = f"expected {name} without line breaks and without spaces at its end, got '{value}'"
            raise UserError(problem, remedy="Choose another value, or rename the file or folder")
    return lines


def command_line(module: str, config: Any) -> str:
    """The command line that makes the result of a config again, with the options that were given."""
    return shlex.join(["python", "-m", module, *as_flags(config, given(config))])


def as_list(values: Iterable[Any]) -> str:
    """The elements of a list as one value of a flag, separated by commas."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="").writerow([text_of(value) for value in values])
    return stream.getvalue()


def text_of(value: Any) -> str:
    """A value as a person would type it: whole numbers without a point."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else str(value)
