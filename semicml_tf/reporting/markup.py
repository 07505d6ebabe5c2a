"""HTML and SVG put together so that text can never become markup: strings are escaped unless they are `Html`."""

from __future__ import annotations

import html
import json
from typing import Any

_VOID = frozenset(("br", "img", "input", "meta"))


class Html(str):
    """Markup that is put in as it is."""


def text(value: Any) -> Html:
    """`value` as text, escaped; `Html` as it is; None as nothing."""
    if isinstance(value, Html):
        return value
    return Html("" if value is None else html.escape(str(value)))


def join(*parts: Any) -> Html:
    """The parts one after the other, each as `text`; lists and tuples item by item."""
    return Html("".join(join(*part) if isinstance(part, (list, tuple)) else text(part) for part in parts))


def element(name: str, /, *children: Any, **attributes: Any) -> Html:
    """``<name attributes>children</name>``.

    Args:
        children: as in `join`.
        attributes: a trailing _ is dropped (``class_``), other _ become -; True is an attribute without value, None
            and False are none.
    """
    given = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        given.append(f" {key}" if value is True else f' {key}="{html.escape(str(value))}"')
    opened = f"<{name}{''.join(given)}>"
    return Html(opened if name in _VOID else f"{opened}{join(*children)}</{name}>")


def data_block(identifier: str, value: Any) -> Html:
    """A script element that holds JSON and is never run."""
    # JSON allows < only within strings, where it may be written so.
    body = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return Html(f'<script type="application/json" id="{html.escape(identifier)}">{body}</script>')


def number(value: Any, digits: int = 3) -> str:
    """A number for people; a dash where there is none."""
    return f"{value:.{digits}f}" if isinstance(value, (int, float)) and not isinstance(value, bool) else "–"
