"""The gap in DSC between the modalities' networks, before and after re-learning from a teacher's labels."""

from __future__ import annotations

from collections.abc import Sequence

from semicml_tf.reporting import chart, columns
from semicml_tf.reporting.markup import Html, by_run, element, join, number, sortable
from semicml_tf.reporting.run_facts import RunFacts
from semicml_tf.system.tables import Cell, Table

_ROW = 34.0


def _from_history(run: RunFacts) -> list[dict]:
    """Rows as in `diagnostics.relearning.gaps`, for runs without that report."""
    names, rows = run.modalities, run.history
    stages = [index for index in range(1, len(rows)) if rows[index].get("stage") != rows[index - 1].get("stage")]
    taught = [row for row in rows if row.get("teacher")]
    gaps = []
    if taught and stages:
        begin = next((index for index in stages if rows[index].get("teacher")), stages[-1])
        gaps += [("before", rows[begin - 1]), ("after", rows[-1])]
    gaps = [
        {"when": when, "dice": {name: row.get(f"dice_{name}") for name in names}, "teacher": rows[-1].get("teacher")}
        for when, row in gaps
    ]
    best = run.record.get("best") or {}
    dice_of_best = {name: best.get(name, {}).get("dice") for name in names}
    gaps.append({"when": "kept", "dice": dice_of_best, "teacher": rows[-1].get("teacher") if rows else None})
    return gaps


def _rows(run: RunFacts) -> tuple[list[dict], str]:
    """Rows with `when` and `dice` by modality, and the source of the rows."""
    if run.relearning and isinstance(run.relearning.get("gap"), list):
        rows, source = [dict(row) for row in run.relearning["gap"]], "report on re-learning"
    else:
        rows, source = _from_history(run), "history of the run"
    scored = {row.get("modality"): (row.get("summary", {}).get("dice") or {}).get("mean") for row in run.networks}
    if scored:
        rows.append({"when": f"{run.partition} patients", "dice": scored})
    complete = [
        row
        for row in rows
        if isinstance(row.get("dice"), dict)
        and all(columns.is_number(row["dice"].get(name)) for name in run.modalities)
    ]
    return complete, source


def _picture(run: RunFacts, rows: Sequence[dict]) -> Html:
    values = [value for row in rows for value in row["dice"].values()]
    low = max(0.0, min(values) - 0.08)
    frame = chart.Frame(
        (low, min(1.0, max(values) + 0.08)), (len(rows) - 0.5, -0.5), width=520, height=_ROW * len(rows) + 56, left=110
    )
    parts = [frame.axes("mean DSC", "", y_ticks=[(index, str(row["when"])) for index, row in enumerate(rows)])]
    for index, row in enumerate(rows):
        places = [frame.x(row["dice"][name]) for name in run.modalities]
        line = frame.y(index)
        parts.append(element("line", class_="gap", x1=min(places), x2=max(places), y1=line, y2=line))
        for number_, name in enumerate(run.modalities):
            dot = element(
                "circle",
                element("title", f"{name}: {row['dice'][name]:.3f}"),
                cx=places[number_],
                cy=line,
                r=5.5,
                class_="dot",
            )
            parts.append(element("g", dot, class_=chart.series_class(number_)))
    title = f"Modality gap of {run.name}"
    names = chart.legend([(name, index) for index, name in enumerate(run.modalities)])
    return chart.figure(title, frame.picture(title, join(parts)), names)


def _of_run(run: RunFacts) -> Html:
    rows, source = _rows(run)
    if not rows or len(run.modalities) < 2:
        return element("p", "No scores of two networks.")
    taught = (run.relearning or {}).get("taught") or {}
    teacher = taught.get("teacher") or next((row["teacher"] for row in rows if row.get("teacher")), None)
    first = teacher if teacher in run.modalities else run.modalities[0]
    others = [name for name in run.modalities if name != first]

    def gap(row: dict, other: str) -> Cell:
        difference = row["dice"][first] - row["dice"][other]
        return Cell(f"{difference:+.3f}", difference)

    body = [
        [
            Cell(str(row["when"]), float(index)),
            *(Cell(number(row["dice"][name]), row["dice"][name]) for name in run.modalities),
            *(gap(row, other) for other in others),
        ]
        for index, row in enumerate(rows)
    ]
    headings = ["when", *run.modalities, *(f"{first} less {other}" for other in others)]
    teachers = f"Teacher: {teacher}. " if teacher else "No stage of this run learned from a teacher's labels. "
    return join(
        element("p", teachers, f"From the {source}. Before, after and kept: mean DSC of validation patients."),
        element(
            "div",
            _picture(run, rows),
            sortable(Table(headings, body, caption=f"Modality gap of {run.name}")),
            class_="plots",
        ),
    )


def section(runs: Sequence[RunFacts]) -> Html:
    """The gaps of all runs."""
    return by_run([(run.name, _of_run(run)) for run in runs])
