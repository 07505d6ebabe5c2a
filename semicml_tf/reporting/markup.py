"""Builds HTML and SVG. All strings are escaped unless they are `Html`."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from typing import Any

from semicml_tf.system.tables import Cell, Table

_VOID = frozenset(("br", "img", "input", "meta"))
# With more runs than this, their parts are folded.
_UNFOLDED = 3


class Html(str):
    """Markup that is inserted without escaping."""


def text(value: Any) -> Html:
    """Escapes `value`. `Html` is unchanged, and None becomes empty."""
    if isinstance(value, Html):
        return value
    return Html("" if value is None else html.escape(str(value)))


def join(*parts: Any) -> Html:
    """Concatenates the parts, each escaped by `text`. Lists and tuples are flattened."""
    return Html("".join(join(*part) if isinstance(part, (list, tuple)) else text(part) for part in parts))


def element(name: str, /, *children: Any, **attributes: Any) -> Html:
    """``<name attributes>children</name>``.

    Args:
        children: as in `join`.
        attributes: a trailing _ is dropped (``class_``), other _ become -. True gives an attribute without a value;
            None and False give no attribute.
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
    """A script element with JSON, which browsers do not run."""
    # In JSON, < occurs only in strings, where the escape is equivalent.
    body = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return Html(f'<script type="application/json" id="{html.escape(identifier)}">{body}</script>')


def number(value: Any, digits: int = 3) -> str:
    """A number with fixed decimals; a dash for other values."""
    return f"{value:.{digits}f}" if isinstance(value, (int, float)) and not isinstance(value, bool) else "–"


def sortable(table: Table, **attributes: Any) -> Html:
    """A table that is sorted by a click on a heading. The first cell of a row is the row's heading."""
    rows = [[cell if isinstance(cell, Cell) else Cell.of_text(cell) for cell in row] for row in table.rows]
    numeric = [any(row[column].is_number for row in rows) for column in range(len(table.headings))]

    def body(row: Sequence[Cell]) -> Html:
        cells = []
        for column, cell in enumerate(row):
            kind = {"class_": "number"} if numeric[column] else {}
            if cell.key is not None:
                kind["data_key"] = repr(float(cell.key)) if cell.is_number else cell.key
            content = join(cell.text, [element("small", line) for line in cell.small])
            cells.append(element("td", content, **kind) if column else element("th", content, scope="row", **kind))
        return element("tr", cells)

    heads = [
        element(
            "th",
            element("button", heading, element("span", class_="arrow", aria_hidden="true"), type="button"),
            scope="col",
            aria_sort="none",
            data_kind="number" if is_number else "text",
            class_="number" if is_number else None,
        )
        for heading, is_number in zip(table.headings, numeric)
    ]
    body_of_table = element("tbody", [body(row) for row in rows])
    head = element("thead", element("tr", heads))
    whole = element("table", element("caption", table.caption), head, body_of_table, class_="sortable", **attributes)
    return element("div", whole, class_="scroll", tabindex=0, role="region", aria_label=table.caption)


def facts(rows: Sequence[tuple[str, Any]]) -> Html:
    """A list of names and their values."""
    return element("dl", [(element("dt", name), element("dd", value)) for name, value in rows], class_="facts")


def code(value: Any) -> Html:
    """Inline code."""
    return element("code", value)


def block(value: str) -> Html:
    """A block of code."""
    return element("pre", element("code", value), tabindex=0)


def by_run(parts: Sequence[tuple[str, Any]]) -> Html:
    """The parts of several runs, each below its heading. The part of a single run has no heading.

    Args:
        parts: heading and body of each run.
    """
    if len(parts) == 1:
        return join(parts[0][1])
    if len(parts) <= _UNFOLDED:
        return join([join(element("h3", heading), body) for heading, body in parts])
    return join([element("details", element("summary", heading), body, class_="printed") for heading, body in parts])
