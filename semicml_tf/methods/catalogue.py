"""The known methods by name, and the settings that their knobs make together.

A method is a file of this package with ``METHOD`` and ``stage_class()``; see `declaration.Declaration`. To add one,
write the file and add its name to `NAMES`. Its flags, their help and the contract tests follow.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import importlib
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from semicml_tf.configuration import Problem
from semicml_tf.methods.declaration import Declaration
from semicml_tf.methods.shared_knobs import Optimiser, Supervision

NAMES = (
    "supervised", "semi_cml", "prel", "mean_teacher", "ua_mt", "ict", "cps", "cross_modal_cps", "cct", "urpc",
    "entropy_minimisation", "fixmatch", "deep_co_training",
)  # fmt: skip
# What each method reads.
COMMON = (Optimiser, Supervision)


def _module(name: str):
    return importlib.import_module(f"semicml_tf.methods.{name}")


METHODS: dict[str, Declaration] = {name: _module(name).METHOD for name in NAMES}


def _fields() -> Iterator[tuple[str, Any, dataclasses.Field]]:
    """A field for each knob: of the optimiser, of the losses, and of the methods in their order."""
    of_methods = dict.fromkeys(one for method in METHODS.values() for one in method.knobs)
    for knobs_class in (*COMMON, *of_methods):
        readers = [name for name, method in METHODS.items() if knobs_class in method.knobs]
        heading = f"Flags of {knobs_class.title}" + (f" ({', '.join(readers)})" if readers else "")
        annotations = typing.get_type_hints(knobs_class)
        for field in dataclasses.fields(knobs_class):
            described = dataclasses.field(default=field.default, metadata={**field.metadata, "group": heading})
            yield field.name, annotations[field.name], described


# The knobs of all methods as one frozen dataclass: what a method gets as its `settings`.
MethodSettings = dataclasses.make_dataclass("MethodSettings", _fields(), frozen=True)
MethodSettings.__module__ = __name__
MethodSettings.__doc__ = "The knobs of all methods; each is described where it is declared."


def unknown(names: Sequence[str]) -> Problem | None:
    """The problem with the first name that is no method's, or with an empty list; None if there is none."""
    for name in names or ("",):
        if name not in METHODS:
            near = difflib.get_close_matches(name, METHODS, n=1)
            remedy = f"Did you mean --method={near[0]}?" if near else "Correct --method"
            return f"expected methods among {', '.join(METHODS)}, got '{name}'", remedy
    return None


def contradictions(settings: MethodSettings) -> Iterator[Problem]:
    """The problems of knobs that are right one by one."""
    for method in METHODS.values():
        yield from method.contradictions(settings)


@functools.cache
def stage_class(name: str):
    """The method's subclass of `base.Method`. The first call imports Keras."""
    return _module(name).stage_class()


def settings_of(flags: Mapping[str, Any]) -> MethodSettings:
    """The methods' part of a run's settings, by flag name as in `run.json`. Missing ones have their default."""
    defaults = {field.name: field.default for field in dataclasses.fields(MethodSettings)}
    given = {name: flags[name] for name in defaults if name in flags}
    return MethodSettings(**{n: tuple(v) if isinstance(defaults[n], tuple) else v for n, v in given.items()})
