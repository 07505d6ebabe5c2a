"""The help of a command: its docstring, and its flags by groups."""

from __future__ import annotations

import textwrap
from collections.abc import Collection

from semicml_tf import configuration


def text(module, *, hidden: Collection[str] = ()) -> str:
    """The help of a command's module, with its flags in the order of their definition.

    Args:
        module: a module with a docstring and ``CONFIG``.
        hidden: names of flags to leave out.
    """
    groups: dict[str, list[str]] = {}
    for one in configuration.options(module.CONFIG):
        if one.name not in hidden:
            groups.setdefault(one.group or "Flags", []).extend(_flag(one.name, _of_option(one)))
    lines = [(module.__doc__ or "").strip()]
    for heading, members in groups.items():
        lines += ["", f"{heading}:", *members]
    lines += _flag("flagfile", "File with one --flag=value a line. Flags after it on the command line win.")
    return "\n".join(lines)


def _of_option(one: configuration.Option) -> str:
    facts = (
        [f"one of {', '.join(one.choices)}"] if one.choices else [one.limits.removeprefix("of ")] if one.limits else []
    )
    if one.required:
        facts.append("required")
    elif one.default not in (None, "", ()):
        default = configuration.as_list(one.default if isinstance(one.default, tuple) else [one.default])
        facts.append(f"default: {default.lower() if one.kind is bool else default}")
    facts += ["may be repeated"] if one.repeated else []
    return f"{one.help} ({'; '.join(facts)})" if facts else one.help


def _flag(name: str, words: str) -> list[str]:
    lines = [f"  --{name}"]
    for line in words.splitlines():
        lines += textwrap.wrap(line.strip(), 96, initial_indent="      ", subsequent_indent="      ")
    return lines
