"""The first lines of the page: each network's mean, its missed patients, and its lead over the best baseline."""

from __future__ import annotations

from collections.abc import Sequence

from semicml_tf.evaluation import report
from semicml_tf.reporting.markup import Html, element, join, number
from semicml_tf.reporting.run_facts import RunFacts

# With more runs, the table replaces these lines.
_MOST_RUNS = 3


def _mean_dice(row: dict) -> float | None:
    return row["summary"].get("dice", {}).get("mean")


def _best_baseline(run: RunFacts) -> dict | None:
    """The no-network baseline with the highest mean DSC."""
    rows = [row for row in run.rows if row["kind"] == "blind" and _mean_dice(row) is not None]
    return max(rows, key=_mean_dice, default=None)


def _of_classes(run: RunFacts, row: dict) -> list[str]:
    """The network's mean DSC of each class."""
    rows = [
        class_row for target in run.targets for class_row in run.rows_of(target) if class_row["name"] == row["name"]
    ]
    return [
        f"{class_row['target']} {number(_mean_dice(class_row))}"
        for class_row in rows
        if _mean_dice(class_row) is not None
    ]


def _modality_of(fitted: dict) -> str | None:
    """The modality that a no-network baseline thresholds; the same for all classes."""
    of_class = next((of_one_class for of_one_class in fitted.values() if isinstance(of_one_class, dict)), fitted)
    return of_class.get("modality")


def _counts(summary: dict, of_all_classes: bool) -> list[str]:
    texts = []
    if "missed" in summary:
        texts.append(f"{summary['missed']} of {summary['cases']} patients missed")
    if summary.get("false_alarms"):
        texts.append(f"{summary['false_alarms']} false alarms")
    lesions = summary.get("lesions") or {}
    if {"found", "true", "false"} <= set(lesions):
        of_all = " of all classes" if of_all_classes else ""
        texts.append(f"{lesions['found']} of {lesions['true']} lesions{of_all} found, {lesions['false']} false lesions")
    return texts


def _of_network(run: RunFacts, row: dict, several: bool) -> Html | None:
    mean = _mean_dice(row)
    if mean is None:
        return None
    ends = row["summary"]["dice"].get("interval")
    interval = f" (95 % interval {number(ends[0])} to {number(ends[1])})" if ends else ""
    text = (
        ", ".join(
            [f"mean DSC {number(mean)}{interval}", *_of_classes(run, row), *_counts(row["summary"], bool(run.targets))]
        )
        + ". "
    )
    name = element("b", f"{run.name}, {run.title(row)}" if several else row["name"])
    baseline = _best_baseline(run)
    if baseline is None:
        return element("li", name, ": ", text)
    read = _modality_of(run.metrics["blind"].get(baseline["name"], {}))
    unread = read is not None and not report.answers_for(row, read)
    other = f"; on {read}, which this network does not read" if unread else ""
    beside = f"the best no-network baseline ({baseline['name']}, {number(_mean_dice(baseline))}{other})"
    if mean > _mean_dice(baseline):
        return element("li", name, ": ", text, f"Above {beside}.")
    return element("li", name, ": ", text, element("b", "Not above "), f"{beside}.", class_="warning")


def lines(runs: Sequence[RunFacts]) -> Html | None:
    """A line per network; None for many runs, or for runs without scores."""
    if len(runs) > _MOST_RUNS:
        return None
    items = [_of_network(run, row, len(runs) > 1) for run in runs for row in run.networks]
    return element("ul", items, class_="notices headline") if any(items) else None


def _patients(count: int, partition: str) -> str:
    return f"{count} {partition} patients" if count != 1 else f"One {partition} patient, which is no evidence"


def origin(runs: Sequence[RunFacts]) -> Html:
    """The number of scored patients, and for a single run its method and data."""
    patients = {len({case["case_id"] for row in run.rows for case in row["cases"]}) for run in runs if run.rows}
    partition = runs[0].partition
    parts = [_patients(patients.pop(), partition) if len(patients) == 1 else f"Partition '{partition}'"]
    folds = len(runs[0].metrics["folds"]) if runs[0].is_pooled else 0
    if len(runs) == 1:
        (run,) = runs
        seed = run.record.get("settings", {}).get("seed")
        parts += [
            f"networks for {' and '.join(filter(None, (', '.join(run.modalities[:-1]), run.modalities[-1])))}",
            f"trained by {run.method}",
            *([f"{run.labelled} labelled patients"] if run.labelled is not None else []),
            *([f"cross-validation of {folds} runs"] if folds else []),
            *([f"seed {seed}"] if seed is not None and not folds else []),
        ]
    else:
        parts.append(f"{len(runs)} runs")
    return join(", ".join(parts), ".")
