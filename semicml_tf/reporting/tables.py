"""Tables; a click on a heading sorts them, or Enter on it: headings are buttons."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from semicml_tf.reporting.markup import Html, element


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell.

    Attributes:
        shown: text or markup.
        key: what it is sorted by: a number, or a text; None comes last, whichever way.
    """

    shown: Any
    key: float | str | None = None

    @property
    def is_number(self) -> bool:
        """Whether it is sorted, and set, as a number."""
        return isinstance(self.key, (int, float))


def text_cell(value: Any) -> Cell:
    """A cell that is sorted by its text."""
    return Cell(value, None if value is None else str(value))


def sortable(caption: str, headings: Sequence[str], rows: Sequence[Sequence[Cell]], **attributes: Any) -> Html:
    """A table whose rows a reader may sort; the first cell of a row is its heading."""
    numeric = [any(row[column].is_number for row in rows) for column in range(len(headings))]

    def body(row: Sequence[Cell]) -> Html:
        cells = []
        for column, cell in enumerate(row):
            kind = {"class_": "number"} if numeric[column] else {}
            if cell.key is not None:
                kind["data_key"] = repr(float(cell.key)) if cell.is_number else cell.key
            cells.append(
                element("td", cell.shown, **kind) if column else element("th", cell.shown, scope="row", **kind)
            )
        return element("tr", cells)

    heads = [
        element(
            "th",
            element("button", heading, element("span", class_="arrow", aria_hidden="true"), type="button"),
            scope="col",
            aria_sort="none",
            data_kind="number" if numeric[column] else "text",
            class_="number" if numeric[column] else None,
        )
        for column, heading in enumerate(headings)
    ]
    table = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", heads)),
        element("tbody", [body(row) for row in rows]),
        class_="sortable",
        **attributes,
    )
    return element("div", table, class_="scroll", tabindex=0, role="region", aria_label=caption)


def facts(rows: Sequence[tuple[str, Any]]) -> Html:
    """Names and what they stand for."""
    return element("dl", [(element("dt", name), element("dd", value)) for name, value in rows], class_="facts")


def code(value: Any) -> Html:
    """Something to copy."""
    return element("code", value)


def block(value: str) -> Html:
    """A command or a file, as it is."""
    return element("pre", element("code", value), tabindex=0)
