"""Scores by number of labelled patients, and the labelled patients that a method saves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from semicml_tf.experiments import statistics
from semicml_tf.reporting import line_chart
from semicml_tf.reporting.line_chart import Series
from semicml_tf.reporting.markup import Html, element, join, number, sortable
from semicml_tf.reporting.run_facts import RunFacts
from semicml_tf.system.tables import Cell, Table

BASELINE = "supervised"
_BOUNDS = {"": "", "<": "fewer than ", ">": "more than "}
_UNKNOWN = (
    "The number of saved labelled patients is unknown. It needs runs on labelled patients only "
    f"(--method={BASELINE}) with at least two numbers of labelled patients"
)


def _scores(runs: Sequence[RunFacts], modality: str) -> dict[str, dict[int, list[tuple[float, str]]]]:
    """Mean DSC and name of each run, by method and by number of labelled patients."""
    scores: dict[str, dict[int, list[tuple[float, str]]]] = {}
    for run in runs:
        for row in run.networks:
            mean = (row.get("summary", {}).get("dice") or {}).get("mean")
            if row.get("modality") == modality and mean is not None and run.labelled:
                scores.setdefault(run.method, {}).setdefault(run.labelled, []).append((mean, run.name))
    return scores


def _figure(runs: Sequence[RunFacts], modality: str) -> Html:
    series, counts = [], set()
    for colour, (method, by_count) in enumerate(_scores(runs, modality).items()):
        counts |= set(by_count)
        means = [
            (count, math.fsum(v for v, _ in scores_of_count) / len(scores_of_count))
            for count, scores_of_count in sorted(by_count.items())
        ]
        series.append(
            Series(method, means, colour, [f"{method}, {count} labelled: mean {mean:.3f}" for count, mean in means])
        )
        single = [
            (count, value, name)
            for count, scores_of_count in sorted(by_count.items())
            for value, name in scores_of_count
        ]
        if len(single) > len(means):
            points = [(count, value) for count, value, _ in single]
            series.append(Series("", points, colour, [f"{name}: {value:.3f}" for _, value, name in single], line=False))
    return line_chart.lines(
        f"{modality}: DSC by labelled patients",
        series,
        x_label="labelled patients (logarithmic)",
        y_label="mean DSC",
        x_log=True,
        x_ticks=[(count, str(count)) for count in sorted(counts)],
    )


def section(runs: Sequence[RunFacts]) -> Html | None:
    """The section; None if all runs have the same number of labelled patients."""
    evaluated = [run for run in runs if run.networks and run.labelled]
    if len({run.labelled for run in evaluated}) < 2:
        return None
    names = list(dict.fromkeys(name for run in evaluated for name in run.modalities))
    note = "Lines connect the means over the runs of a method. Single dots are runs."
    partitions = {tuple(case["case_id"] for case in run.networks[0]["cases"]) for run in evaluated}
    if len(partitions) > 1:
        note += " Warning: the runs were not scored on the same patients."
    scores = {
        name: {
            method: {count: [value for value, _ in scores_of_count] for count, scores_of_count in by_count.items()}
            for method, by_count in _scores(evaluated, name).items()
        }
        for name in names
    }
    return join(
        element("p", note),
        element("div", [_figure(evaluated, name) for name in names], class_="plots"),
        labels_saved(scores),
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _needed(curve: Mapping[int, float], mean: float, labelled: int) -> list[Cell]:
    if curve[max(curve)] <= curve[min(curve)]:
        return [Cell("not improved by more labels"), Cell("unknown")]
    needed = statistics.needed(curve, mean)
    bound = _BOUNDS[needed.bound]
    saved = needed.saved(labelled)
    # If the smallest number already scores better, nothing is saved.
    shown = "none" if needed.bound == "<" else f"{bound}{round(saved, 1):g}"
    return [Cell(f"{bound}{round(needed.labels, 1):g}", needed.labels), Cell(shown, saved)]


def labels_saved(scores: Mapping[str, Mapping[str, Mapping[int, Sequence[float]]]]) -> Html:
    """A table of the labelled patients saved, or the reason why the table is missing.

    Args:
        scores: by modality, method and number of labelled patients, the mean DSC of each run.
    """
    body = []
    for modality, methods in scores.items():
        curve = {count: _mean(values) for count, values in methods.get(BASELINE, {}).items()}
        if len(curve) < 2:
            continue
        for method, by_count in methods.items():
            for labelled, values in sorted(by_count.items()) if method != BASELINE else ():
                body.append(
                    [
                        method,
                        modality,
                        Cell(labelled, labelled),
                        Cell(len(values), len(values)),
                        Cell(number(_mean(values)), _mean(values)),
                        *_needed(curve, _mean(values), labelled),
                    ]
                )
    runs_by_count = {
        count: len(values) for methods in scores.values() for count, values in methods.get(BASELINE, {}).items()
    }
    if not body:
        return element("p", f"{_UNKNOWN}. Here: {_listed(sorted(runs_by_count))}.")
    headings = ["method", "network", "labelled", "runs", "mean DSC", f"'{BASELINE}' would need", "patients saved"]
    points = ", ".join(f"{count} ({runs})" for count, runs in sorted(runs_by_count.items()))
    return join(
        sortable(Table(headings, body, caption="Labelled patients saved at the same DSC")),
        element(
            "p",
            f"'{BASELINE}' learns from labelled patients only. Its numbers of labelled patients (runs): {points}. The "
            "curve is the running maximum, linear between points over the logarithm of the number. More than: the "
            "largest number does not reach this DSC. Fewer than: the smallest number scores better. With few runs, "
            "another training can change these numbers a lot.",
            class_="note",
        ),
    )


def _listed(counts: Sequence[int]) -> str:
    return f"only runs with {', '.join(map(str, counts))}" if counts else "none"
