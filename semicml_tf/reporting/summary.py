"""The summary table: a line for each network and for the rows that read none."""

from __future__ import annotations

from collections.abc import Sequence

from semicml_tf.reporting import columns, tables
from semicml_tf.reporting.markup import Html, element, join, number
from semicml_tf.reporting.run_facts import RunFacts
from semicml_tf.reporting.tables import Cell


def _mean(name: str, value: dict | None, cases: int | None) -> Cell:
    if not isinstance(value, dict) or not columns.is_number(value.get("mean")):
        return Cell("–")
    digits = columns.digits(name)
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


def _is_told(row: dict, told: Sequence[dict]) -> bool:
    return any(all(row.get(key) == other.get(key) for key in ("name", "kind", "summary")) for other in told)


def section(runs: Sequence[RunFacts]) -> Html:
    """The table of all runs that were evaluated."""
    # The rows that read no network are the same for all runs that are scored on the same patients of the same data.
    held: list[tuple[RunFacts, dict]] = []
    for run in runs:
        told = [row for _, row in held]
        held += [(run, row) for row in run.rows if row.get("kind") == "network" or not _is_told(row, told)]
    if not held:
        return element("p", "None of the runs was evaluated; what to run stands at the top.")
    rows = [row for _, row in held]
    averaged, counted = columns.averaged(rows), columns.counted(rows)
    several = len(runs) > 1
    headings = [*(["run"] if several else []), "network", *map(columns.title, [*averaged, *counted])]
    body = []
    for run, row in held:
        summary = row.get("summary", {})
        network = row.get("kind") == "network"
        numbers = columns.numbers(summary)
        labelled = "" if run.labelled is None else f", {run.labelled} labelled"
        body.append(
            [
                *([Cell(join(run.name, element("small", run.method, labelled)), run.name)] if several else []),
                Cell(join(row.get("name"), None if network else element("small", "reads no network")), row.get("name")),
                *(_mean(name, summary.get(name), summary.get("cases")) for name in averaged),
                *(
                    Cell(columns.plain(name, numbers[name]), numbers[name]) if name in numbers else Cell("–")
                    for name in counted
                ),
            ]
        )
    intervals = any(
        columns.interval(value) for row in rows for value in row["summary"].values() if isinstance(value, dict)
    )
    return join(
        tables.sortable(
            "Scores: mean ± sd over patients, each on the patient's own grid", headings, body, id="summary"
        ),
        element(
            "p",
            "Below each mean, where the evaluation tells: its bootstrap confidence interval, the median. "
            if intervals
            else "",
            "A click on a heading sorts by it. The last rows of a run read no network: a network that does not beat "
            "them has learned nothing of the lesion.",
            class_="note",
        ),
    )
