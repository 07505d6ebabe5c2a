"""Scores over the number of labelled patients, where the runs differ in it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from semicml_tf.reporting import labels_saved, line_chart
from semicml_tf.reporting.line_chart import Series
from semicml_tf.reporting.markup import Html, element, join
from semicml_tf.reporting.run_facts import RunFacts


def _scores(runs: Sequence[RunFacts], modality: str) -> dict[str, dict[int, list[tuple[float, str]]]]:
    """By method, then by number of labelled patients: mean DSC and name of each run."""
    found: dict[str, dict[int, list[tuple[float, str]]]] = {}
    for run in runs:
        for row in run.networks:
            mean = (row.get("summary", {}).get("dice") or {}).get("mean")
            if row.get("modality") == modality and mean is not None and run.labelled:
                found.setdefault(run.method, {}).setdefault(run.labelled, []).append((mean, run.name))
    return found


def _figure(runs: Sequence[RunFacts], modality: str) -> Html:
    series, counts = [], set()
    for colour, (method, by_count) in enumerate(_scores(runs, modality).items()):
        counts |= set(by_count)
        means = [(count, math.fsum(v for v, _ in held) / len(held)) for count, held in sorted(by_count.items())]
        series.append(
            Series(method, means, colour, [f"{method}, {count} labelled: mean {mean:.3f}" for count, mean in means])
        )
        single = [(count, value, name) for count, held in sorted(by_count.items()) for value, name in held]
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
    """The curve; None where the runs do not have several numbers of labelled patients."""
    held = [run for run in runs if run.networks and run.labelled]
    if len({run.labelled for run in held}) < 2:
        return None
    names = list(dict.fromkeys(name for run in held for name in run.modalities))
    note = "Lines join means over the runs of one method; single dots are runs."
    partitions = {tuple(case["case_id"] for case in run.networks[0]["cases"]) for run in held}
    if len(partitions) > 1:
        note += " Careful: the runs were not scored on the same patients."
    scores = {
        name: {
            method: {count: [value for value, _ in own] for count, own in by_count.items()}
            for method, by_count in _scores(held, name).items()
        }
        for name in names
    }
    return join(
        element("p", note),
        element("div", [_figure(held, name) for name in names], class_="plots"),
        labels_saved.section(scores),
    )
