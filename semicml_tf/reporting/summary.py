"""The scores of the page: tables of all rows, names of failed patients, and definitions of the numbers."""

from __future__ import annotations

from collections.abc import Sequence

from semicml_tf.evaluation import score_table
from semicml_tf.evaluation.score_table import Column
from semicml_tf.evaluation.scores import WITHOUT
from semicml_tf.evaluation.table import failed_name
from semicml_tf.reporting import columns
from semicml_tf.reporting.markup import Html, element, facts, join, number, sortable
from semicml_tf.reporting.run_facts import RunFacts
from semicml_tf.system.tables import Cell

# The metrics of the first table. The last table has all others.
_FIRST = ("dice", "surface_dice", "hd95_mm", "assd_mm", "sensitivity", "ppv")
_COUNTS = ("missed", "false_alarms")
_UNKNOWN = "–"
_OUTCOMES = {
    "missed": "missed: a lesion, and an empty prediction",
    "false alarm": "false alarm: a prediction, but no lesion",
}
_TITLES = {
    "undefined": "undefined (–)",
    "hd95": "HD95",
    "assd": "ASSD",
    "sd": "± sd",
    "surface_dice": "surface DSC",
    "volume_error": "volume error",
    "without_missed_and_false_alarms": "without the missed and the false alarms",
}
_FORMULAS = {
    "DSC": "2 |P and T| / (|P| + |T|): P is the predicted mask, T the truth; 1 if they are equal, 0 if they do not "
    "overlap",
    "PPV": "|P and T| / |P|: share of the prediction that is true",
    "sensitivity": "|P and T| / |T|: share of the truth that is predicted",
}

# The first cells of each row, and the row.
Rows = Sequence[tuple[Sequence[Cell], dict]]


def _rows(runs: Sequence[RunFacts], target: str | None = None) -> Rows:
    """The rows of all runs for a class. Runs with the same patients and data share their baselines."""
    rows: list[tuple[list[Cell], dict]] = []
    for run in runs:
        labelled = "" if run.labelled is None else f", {run.labelled} labelled"
        first = [Cell(run.name, run.name, (f"{run.method}{labelled}",))] if len(runs) > 1 else []
        baselines = [(row["name"], row["summary"]) for _, row in rows if row["kind"] == "blind"]
        for row in run.rows_of(target):
            if row["kind"] != "blind":
                rows.append(([*first, Cell(run.title(row), run.title(row))], row))
            elif (row["name"], row["summary"]) not in baselines:
                rows.append(([*first, Cell(row["name"], row["name"], ("no-network baseline",))], row))
    return rows


def _means(names: Sequence[str]) -> list[Column]:
    return [score_table.mean(name, undefined=_UNKNOWN) for name in names]


def _table(caption: str, rows: Rows, shown: Sequence[Column], *, of: str | None = None, **attributes) -> Html:
    """A table with a line per row: its names, and the columns of its summary or of the part `of` the summary."""
    body = [(names, row["summary"] if of is None else row["summary"].get(of) or {}) for names, row in rows]
    first = ("run", "network")[-len(rows[0][0]) :]
    return sortable(score_table.table(shown, body, first, caption=caption), **attributes)


def _further(rows: Rows) -> Html | None:
    averaged = [name for name in columns.averaged(row for _, row in rows) if name not in _FIRST]
    counted = [name for name in columns.counted(row for _, row in rows) if name not in _COUNTS]
    if not averaged and counted in ([], ["cases"]):
        return None

    def single(name: str) -> Column:
        def cell(summary: dict) -> Cell:
            value = columns.numbers(summary).get(name)
            return Cell(_UNKNOWN) if value is None else Cell(columns.plain(name, value), value)

        return Column(columns.title(name), cell)

    return _table("Further measures", rows, [*_means(averaged), *map(single, counted)])


def _without(rows: Rows) -> Html | None:
    """The means over the patients who are neither missed nor false alarms; None if no report has them."""
    summaries = [row["summary"] for _, row in rows if row["summary"].get(WITHOUT)]
    if not summaries:
        return None
    if all(summary[WITHOUT].get("cases") == summary.get("cases") for summary in summaries):
        return element("p", "No patient was missed or is a false alarm.", class_="note")
    left = Column("patients left", lambda part: Cell(part.get("cases", _UNKNOWN), part.get("cases")))
    return join(
        _table("Without the missed and the false alarms", rows, [*_means(_FIRST), left], of=WITHOUT),
        element(
            "p",
            "A method that misses difficult patients scores higher here. Compare the numbers of patients that are "
            "left. In all other tables, a missed patient counts with DSC 0.",
            class_="note",
        ),
    )


def section(runs: Sequence[RunFacts]) -> Html:
    """The tables of all evaluated runs, and the notes of their evaluations."""
    rows = _rows(runs)
    if not rows:
        return element("p", "None of the runs was evaluated. The top of the page has the commands.")
    first = [name for name in _FIRST if name in columns.averaged(row for _, row in rows)]
    counts = [name for name in _COUNTS if name in columns.counted(row for _, row in rows)]
    means = [value for _, row in rows for value in row["summary"].values() if isinstance(value, dict)]
    tolerance = next(run.metrics["surface_tolerance_mm"] for run in runs if run.metrics)
    notes = [
        element("li", f"{run.name}: {note}" if len(runs) > 1 else note)
        for run in runs
        for note in (run.metrics or {}).get("notes", ())
    ]
    shown = [*_means(first), *(score_table.count(name, " of ", undefined=_UNKNOWN) for name in counts)]
    return join(
        element("ul", notes, class_="notices") if notes else None,
        _table("Mean ± sd over patients, each scored on the patient's own grid", rows, shown, id="summary"),
        element(
            "p",
            "Below each mean: 95 % bootstrap interval, median. "
            if any(value.get("interval") for value in means)
            else "",
            f"Surface DSC at {tolerance:g} mm. "
            "A click on a heading sorts the rows. The last rows of a run are no-network baselines. A network must "
            "score higher than these baselines to show that it has learned more.",
            class_="note",
        ),
        _classes(runs, shown),
        _without(rows),
        _further(rows),
    )


def _classes(runs: Sequence[RunFacts], shown: Sequence[Column]) -> Html | None:
    """A table for each class."""
    targets = list(dict.fromkeys(target for run in runs for target in run.targets))
    if not targets:
        return None
    return join(
        element(
            "p",
            "All other tables show each patient's mean over the classes. A patient is then missed if any class is "
            "missed, else a false alarm if any class is.",
            class_="note",
        ),
        [_table(f"Class {target}", _rows(runs, target), shown) for target in targets],
    )


def _failures_of(run: RunFacts, row: dict) -> list[Html]:
    """List items of a row: the patients by kind of failure."""
    metrics = run.metrics or {}
    named = {
        text: [case["case_id"] for case in row["cases"] if case["outcome"] == outcome]
        for outcome, text in _OUTCOMES.items()
    }
    named["some of the lesions missed (how many)"] = [
        f"{case['case_id']} ({case['lesions_missed']})"
        for case in row["cases"]
        if case["outcome"] == "both present" and case.get("lesions_missed")
    ]
    below = (row.get("failures") or {}).get("dice_below") or ()
    named[f"DSC below {metrics.get('failure_dice')}"] = [f"{name} ({number(dice)})" for name, dice in below]
    named["not scored: without this image"] = metrics.get("lacking", {}).get(row["modality"], ())
    return [element("li", element("b", text), ": ", ", ".join(names)) for text, names in named.items() if names]


def failures(runs: Sequence[RunFacts]) -> Html:
    """The failed patients by run, network and class."""
    parts, without = [], []
    for run in runs:
        for row in (row for target in run.targets or (None,) for row in run.networks_of(target)):
            name = failed_name(run.title(row), row)
            name = f"{run.name}, {name}" if len(runs) > 1 else name
            items = _failures_of(run, row)
            if items:
                parts.append((name, element("ul", items)))
            else:
                without.append(name)
    if without:
        parts.append(("; ".join(without), "none"))
    return facts(parts) if parts else element("p", "No scores yet.")


def definitions(runs: Sequence[RunFacts]) -> Html | None:
    """The definitions of the first evaluated run; None without an evaluated run."""
    first = next((run.metrics for run in runs if run.metrics), None)
    if first is None:
        return None
    measured = [
        ("surface DSC's tolerance, mm", first["surface_tolerance_mm"]),
        ("listed by name below DSC", first["failure_dice"]),
        ("intervals", first.get("intervals")),
    ]
    return facts(
        [
            *_FORMULAS.items(),
            *((_TITLES.get(name, name), text) for name, text in first["policy"].items()),
            *(pair for pair in measured if pair[1] is not None),
        ]
    )
