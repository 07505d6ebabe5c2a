"""The summary tables: a line for each network and for the rows that read none."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from semicml_tf.evaluation.metrics import catalogue
from semicml_tf.reporting import columns, tables
from semicml_tf.reporting.markup import Html, element, join, number
from semicml_tf.reporting.run_facts import RunFacts
from semicml_tf.reporting.tables import Cell

# What is read first; everything else stands in the second table.
_FIRST = ("dice", "surface_dice", "hd95_mm", "assd_mm", "sensitivity", "ppv")
_COUNTS = ("missed", "false_alarms")
_WITHOUT = "without_missed_and_false_alarms"


def _mean(name: str, value: dict | None, cases: int | None) -> Cell:
    if not isinstance(value, dict) or not columns.is_number(value.get("mean")):
        return Cell("–")
    digits = catalogue.digits(name)
    shown = number(value["mean"], digits)
    if columns.is_number(value.get("sd")):
        shown += f" ± {number(value['sd'], digits)}"
    small = []
    ends = columns.interval(value)
    if ends:
        small.append(f"{number(ends[0], digits)} to {number(ends[1], digits)}")
    if columns.is_number(value.get("median")):
        small.append(f"median {number(value['median'], digits)}")
    if cases is not None and value.get("n") not in (None, cases):
        small.append(f"n = {value['n']}")
    return Cell(join(shown, [element("small", line) for line in small]), value["mean"])


def _count(name: str, summary: dict) -> Cell:
    value, cases = summary.get(name), summary.get("cases")
    if not columns.is_number(value):
        return Cell("–")
    return Cell(f"{value} of {cases}" if columns.is_number(cases) else str(value), value)


def _single(name: str, numbers: dict) -> Cell:
    return Cell(columns.plain(name, numbers[name]), numbers[name]) if name in numbers else Cell("–")


def _is_told(row: dict, told: Sequence[dict]) -> bool:
    return any(all(row.get(key) == other.get(key) for key in ("name", "kind", "summary")) for other in told)


def _held(runs: Sequence[RunFacts]) -> list[tuple[RunFacts, dict]]:
    # The rows that read no network are the same for all runs that are scored on the same patients of the same data.
    held: list[tuple[RunFacts, dict]] = []
    for run in runs:
        told = [row for _, row in held]
        held += [(run, row) for row in run.rows if row.get("kind") == "network" or not _is_told(row, told)]
    return held


def _table(
    caption: str,
    held: Sequence[tuple[RunFacts, dict]],
    several: bool,
    headings: Sequence[str],
    cells: Callable[[dict], list[Cell]],
    **attributes,
) -> Html:
    """A line a row, its names before what `cells` makes of its summary."""
    body = []
    for run, row in held:
        labelled = "" if run.labelled is None else f", {run.labelled} labelled"
        small = None if row.get("kind") == "network" else element("small", "reads no network")
        body.append(
            [
                *([Cell(join(run.name, element("small", run.method, labelled)), run.name)] if several else []),
                Cell(join(row.get("name"), small), row.get("name")),
                *cells(row.get("summary", {})),
            ]
        )
    return tables.sortable(caption, [*(["run"] if several else []), "network", *headings], body, **attributes)


def _further(held, several: bool) -> Html | None:
    rows = [row for _, row in held]
    averaged = [name for name in columns.averaged(rows) if name not in _FIRST]
    counted = [name for name in columns.counted(rows) if name not in _COUNTS]
    if not averaged and counted in ([], ["cases"]):
        return None

    def cells(summary: dict) -> list[Cell]:
        numbers = columns.numbers(summary)
        means = [_mean(name, summary.get(name), summary.get("cases")) for name in averaged]
        return means + [_single(name, numbers) for name in counted]

    return _table("Further measures", held, several, [columns.title(name) for name in [*averaged, *counted]], cells)


def _without(held, several: bool) -> Html | None:
    """The means over the patients who are neither missed nor false alarms, where these are not all."""
    told = [row["summary"] for _, row in held if isinstance(row.get("summary", {}).get(_WITHOUT), dict)]
    if not told:
        return None
    if all(summary[_WITHOUT].get("cases") == summary.get("cases") for summary in told):
        return element("p", "Nobody was missed or is a false alarm: means without them are the same.", class_="note")

    def cells(summary: dict) -> list[Cell]:
        part = summary.get(_WITHOUT) or {}
        means = [_mean(name, part.get(name), part.get("cases")) for name in _FIRST]
        return [*means, Cell(part.get("cases", "–"), part.get("cases"))]

    return join(
        _table(
            "Without the missed and the false alarms",
            held,
            several,
            [*map(columns.title, _FIRST), "patients left"],
            cells,
        ),
        element(
            "p",
            "A method that finds nothing in the hard patients looks better here: read it beside the number of those "
            "who are left. All other tables count a missed patient with DSC 0.",
            class_="note",
        ),
    )


def section(runs: Sequence[RunFacts]) -> Html:
    """The tables of all runs that were evaluated, and what their evaluations note."""
    held = _held(runs)
    if not held:
        return element("p", "None of the runs was evaluated; what to run stands at the top.")
    rows, several = [row for _, row in held], len(runs) > 1
    first = [name for name in _FIRST if name in columns.averaged(rows)]
    counts = [name for name in _COUNTS if name in columns.counted(rows)]

    def cells(summary: dict) -> list[Cell]:
        means = [_mean(name, summary.get(name), summary.get("cases")) for name in first]
        return means + [_count(name, summary) for name in counts]

    intervals = any(
        columns.interval(value) for row in rows for value in row["summary"].values() if isinstance(value, dict)
    )
    tolerance = next((run.metrics.get("surface_tolerance_mm") for run, _ in held if run.metrics), None)
    notes = [
        element("li", f"{run.name}: {note}" if several else note)
        for run in runs
        for note in (run.metrics or {}).get("notes") or ()
    ]
    return join(
        element("ul", notes, class_="notices") if notes else None,
        _table(
            "Mean ± sd over patients, each scored on the patient's own grid",
            held,
            several,
            [columns.title(name) for name in [*first, *counts]],
            cells,
            id="summary",
        ),
        element(
            "p",
            "Below each mean: its 95 % bootstrap interval, the median. " if intervals else "",
            f"Surface DSC at {tolerance:g} mm. " if columns.is_number(tolerance) else "",
            "A click on a heading sorts by it. The last rows of a run read no network: a network that does not beat "
            "them has learned nothing of the lesion.",
            class_="note",
        ),
        _without(held, several),
        _further(held, several),
    )
