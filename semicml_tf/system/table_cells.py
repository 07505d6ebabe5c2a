"""Tables of text: aligned columns for the screen; cells of Markdown and CSV that are never markup or a formula."""

from __future__ import annotations

import csv as csv_files
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from semicml_tf.errors import printable

_WIDEST = 48  # characters of a cell on the screen; even
# What begins a column, an element or the target of a link. Numbers such as "<.001" stay.
_MARKUP = re.compile(r"\||<(?=[A-Za-z/!?])|\](?=[(\[])")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def markdown(text: str) -> str:
    """A cell or a line of Markdown that shows `text`."""
    return _MARKUP.sub(lambda found: f"\\{found[0]}", printable(text))


def csv(value: Any) -> Any:
    """A value of a CSV file: text that a spreadsheet would take for a formula gets an apostrophe before it."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """A CSV file with a heading. A value of None, and a column that a row lacks, is an empty cell."""
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
