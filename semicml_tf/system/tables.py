"""Tables for the screen, Markdown, CSV and HTML pages. Text never becomes markup or a formula.

The writer for HTML is in `reporting.markup`.
"""

from __future__ import annotations

import csv as csv_files
import dataclasses
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from semicml_tf.errors import printable

_WIDEST = 48  # characters of a cell on the screen; an even number
# Matches the start of a column, an element or the target of a link. Numbers such as "<.001" do not match.
_MARKUP = re.compile(r"\||<(?=[A-Za-z/!?])|\](?=[(\[])")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: the shown text. A page also accepts markup.
        key: sort key on a page: a number or a text. Cells with None come last in both directions.
        small: further lines, only for pages.
    """

    text: Any
    key: float | str | None = None
    small: tuple[str, ...] = ()

    @classmethod
    def of_text(cls, value: Any) -> Cell:
        """A cell that is sorted by its text."""
        return cls(value, None if value is None else str(value))

    @property
    def is_number(self) -> bool:
        """Whether the cell is sorted as a number."""
        return isinstance(self.key, (int, float))

    def __str__(self) -> str:
        return str(self.text)


@dataclasses.dataclass(frozen=True)
class Table:
    """A table and the notes below it.

    Attributes:
        headings: headings of the columns.
        rows: the cells of each row, as text or `Cell`.
        notes: one line each.
        caption: text above the table on a page.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    notes: Sequence[str] = ()
    caption: str = ""

    def markdown(self) -> str:
        """The table in Markdown."""
        lines = [self.headings, ["---"] * len(self.headings), *self.rows]
        table = "".join("| " + " | ".join(markdown(str(cell)) for cell in line) + " |\n" for line in lines)
        return table + _below("".join(f"{markdown(note)}  \n" for note in self.notes))

    def screen(self) -> str:
        """The table for the screen, in aligned columns."""
        texts = aligned([self.headings, *([str(cell) for cell in row] for row in self.rows)])
        texts.insert(1, "-" * max(map(len, texts)))
        return "\n".join(texts) + "\n" + _below("".join(f"{note}\n" for note in self.notes))


def _below(notes: str) -> str:
    return f"\n{notes}" if notes else ""


def markdown(text: str) -> str:
    """A cell or a line of Markdown that shows `text`."""
    return _MARKUP.sub(lambda match: f"\\{match[0]}", printable(text))


def csv(value: Any) -> Any:
    """A value of a CSV file. Text that a spreadsheet would evaluate as a formula begins with an apostrophe."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """A CSV file with a heading. A value of None and a missing column are empty cells."""
    stream = io.StringIO()
    writer = csv_files.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: csv(value) for name, value in row.items()} for row in rows)
    return stream.getvalue()


def _shortened(cell: str) -> str:
    """The start and the end of a long cell: names often differ at their end."""
    return cell if len(cell) <= _WIDEST else f"{cell[: _WIDEST // 2]}…{cell[1 - _WIDEST // 2 :]}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table for the screen, with columns as wide as their longest cell and two spaces between them.

    A cell of more than 48 characters, e.g. a case's name, is shortened in its middle. Cells of the last column are not.
    """
    rows = [[*map(_shortened, row[:-1]), *row[-1:]] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
