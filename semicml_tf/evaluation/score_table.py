"""Columns of score tables, shared by all writers.

`summary` is the result of `scores.summarise` for the patients of a row.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from semicml_tf.evaluation.metrics.catalogue import FURTHER, MAIN, METRICS, digits, title
from semicml_tf.evaluation.scores import WITHOUT
from semicml_tf.system.tables import Cell, Table

UNKNOWN = "-"
SPREAD_NOTES = (
    "95 %: bootstrap interval of the mean over patients, too narrow for few patients; - for fewer than 5.",
    "without: mean over the patients who are neither missed nor false alarms; all other numbers include them.",
)
FURTHER_NOTES = (
    "volume error: prediction less truth, relative to the truth's volume.",
    "lesions: connected components (26 neighbours); found if at least one voxel is predicted, false if none is true.",
)


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of scores.

    Attributes:
        title: of the measure, e.g. ``DSC``.
        cell: returns the cell of a row.
        modality, target: the modality and the class of all scores in the column; None if they differ from row to row.
    """

    title: str
    cell: Callable[[Any], Cell | str]
    modality: str | None = None
    target: str | None = None

    @property
    def heading(self) -> str:
        """The column's heading, which names modality and target."""
        return " ".join(part for part in (self.modality, self.target, self.title) if part)


def table(
    columns: Sequence[Column],
    rows: Sequence[tuple[Sequence[Cell | str], Any]],
    first: Sequence[str],
    notes: Sequence[str] = (),
    caption: str = "",
) -> Table:
    """A table of scores.

    Args:
        columns: of scores.
        rows: the first cells of each row, and the argument of `Column.cell`.
        first: headings of the first cells.
        notes, caption: as in `Table`.
    """
    body = [[*names, *(column.cell(scores) for column in columns)] for names, scores in rows]
    return Table((*first, *(column.heading for column in columns)), body, notes, caption)


def _range(name: str, value: dict) -> str | None:
    ends = value.get("interval")
    return " to ".join(f"{end:.{digits(name)}f}" for end in ends) if ends else None


def _value(name: str, value: float | None, missing: str = UNKNOWN) -> str:
    return missing if value is None else f"{value:.{digits(name)}f}"


def mean(name: str, *, undefined: str = UNKNOWN, heading: str | None = None) -> Column:
    """Mean ± sd over patients, and their number if some lack the value; on the page also interval and median."""

    def cell(summary: dict) -> Cell:
        value = summary.get(name) or {}
        if value.get("mean") is None:
            return Cell(undefined)
        text = _value(name, value["mean"])
        if value.get("sd") is not None:
            text += f" ± {_value(name, value['sd'])}"
        if value.get("n") not in (None, summary.get("cases")):
            text += f" (n={value['n']})"
        median = value.get("median")
        small = (_range(name, value), None if median is None else f"median {_value(name, median)}")
        return Cell(text, value["mean"], tuple(filter(None, small)))

    return Column(heading or title(name), cell)


def count(name: str, of: str = "/", *, undefined: str = UNKNOWN) -> Column:
    """Number of patients under `missed` or `false_alarms`, with the number of all patients."""

    def cell(summary: dict) -> Cell:
        value = summary.get(name)
        return Cell(undefined) if value is None else Cell(f"{value}{of}{summary['cases']}", value)

    return Column(title(name), cell)


def means() -> list[Column]:
    """The main metrics, missed patients and false alarms."""
    return [*(mean(name, undefined="undefined") for name in MAIN), count("missed"), count("false_alarms")]


def spread() -> list[Column]:
    """Intervals, medians, and means without the missed patients and the false alarms."""
    columns, without = [], []
    for name in ("dice", "hd95_mm"):
        short = title(name).removesuffix(" mm")
        columns += [
            Column(f"{title(name)} 95 %", lambda summary, name=name: _range(name, summary[name]) or UNKNOWN),
            Column(f"median {short}", lambda summary, name=name: _value(name, summary[name]["median"])),
        ]
        without.append(
            Column(f"{short} without", lambda summary, name=name: _value(name, summary[WITHOUT][name]["mean"]))
        )
    left_out = Column("left out", lambda summary: str(summary["cases"] - summary[WITHOUT]["cases"]))
    return [*columns, *without, left_out]


def further(tolerance_mm: float) -> list[Column]:
    """All other metrics, and lesions. A report of an earlier version may lack them."""

    def lesions(text: str) -> Callable[[dict], str]:
        return lambda summary: text.format(**summary["lesions"]) if summary["lesions"] else UNKNOWN

    return [
        *(mean(name, heading=METRICS[name].heading(tolerance_mm)) for name in FURTHER),
        Column("lesions found", lesions("{found}/{true}")),
        Column("false lesions", lesions("{false}")),
    ]


def tables(
    rows: Sequence[tuple[Sequence[str], dict]], first: Sequence[str], notes: Sequence[str], tolerance_mm: float
) -> list[Table]:
    """The tables of summaries: means, then spread, then further metrics.

    Args:
        rows: the first cells and the summary of each row.
        first: headings of the first cells.
        notes: of the first table.
        tolerance_mm: of the surface DSC.
    """
    kinds = ((means(), notes), (spread(), SPREAD_NOTES), (further(tolerance_mm), FURTHER_NOTES))
    return [table(columns, rows, first, below) for columns, below in kinds]
