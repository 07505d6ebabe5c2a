"""The known methods by name, and the settings that combine all of their knobs.

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
# The knobs that all methods read.
COMMON = (Optimiser, Supervision)


def _module(name: str):
    return importlib.import_module(f"semicml_tf.methods.{name}")


METHODS: dict[str, Declaration] = {name: _module(name).METHOD for name in NAMES}


def _fields() -> Iterator[tuple[str, Any, dataclasses.Field]]:
    """Yields name, type and field of each knob, the common ones first."""
    of_methods = dict.fromkeys(knobs_class for method in METHODS.values() for knobs_class in method.knobs)
    for knobs_class in (*COMMON, *of_methods):
        readers = [name for name, method in METHODS.items() if knobs_class in method.knobs]
        heading = f"Flags of {knobs_class.title}" + (f" ({', '.join(readers)})" if readers else "")
        annotations = typing.get_type_hints(knobs_class)
        for field in dataclasses.fields(knobs_class):
            with_heading = dataclasses.field(default=field.default, metadata={**field.metadata, "group": heading})
            yield field.name, annotations[field.name], with_heading


# The knobs of all methods as one frozen dataclass, the type of a method's `settings`.
MethodSettings = dataclasses.make_dataclass("MethodSettings", _fields(), frozen=True)
MethodSettings.__module__ = __name__
MethodSettings.__doc__ = "The knobs of all methods; each is described where it is declared."


def unknown(names: Sequence[str]) -> Problem | None:
    """The problem with the first unknown name, or with an empty list; None if all names are known."""
    for name in names or ("",):
        if name not in METHODS:
            near = difflib.get_close_matches(name, METHODS, n=1)
            remedy = f"Did you mean --method={near[0]}?" if near else "Correct --method"
            return f"expected methods among {', '.join(METHODS)}, got '{name}'", remedy
    return None


def contradictions(settings: MethodSettings) -> Iterator[Problem]:
    """Problems of knobs that are valid alone, but not together."""
    for method in METHODS.values():
        yield from method.contradictions(settings)


@functools.cache
def stage_class(name: str):
    """The method's subclass of `base.Method`. The first call imports Keras."""
    return _module(name).stage_class()


def settings_of(flags: Mapping[str, Any]) -> MethodSettings:
    """The settings of methods from the flags of a run, as in `run.json`. Missing flags have their defaults."""
    defaults = {field.name: field.default for field in dataclasses.fields(MethodSettings)}
    given = {name: flags[name] for name in defaults if name in flags}
    return MethodSettings(**{n: tuple(v) if isinstance(defaults[n], tuple) else v for n, v in given.items()})
