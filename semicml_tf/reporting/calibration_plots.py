"""Calibration: reliability diagrams of networks and of soft labels."""

from __future__ import annotations

from collections.abc import Sequence

from semicml_tf.evaluation.calibration import UNSURE
from semicml_tf.reporting import line_chart
from semicml_tf.reporting.line_chart import Series
from semicml_tf.reporting.markup import Html, by_run, element, join, number, sortable
from semicml_tf.reporting.run_facts import RunFacts
from semicml_tf.system.tables import Cell, Table


def _series(name: str, bins: Sequence[dict], colour: int, dashed: bool = False) -> Series:
    filled = [bin_ for bin_ in bins if bin_["count"]]
    return Series(
        name,
        [(bin_["mean_label"], bin_["observed"]) for bin_ in filled],
        colour,
        [
            f"{name}: {bin_['low']:.1f} to {bin_['high']:.1f}, observed {bin_['observed']:.3f}, {bin_['count']} voxels"
            for bin_ in filled
        ],
        dashed=dashed,
    )


def _diagram(title: str, series: Sequence[Series], x_label: str) -> Html:
    return line_chart.lines(
        title,
        series,
        x_label=x_label,
        y_label="observed share of truth",
        x_range=(0.0, 1.0),
        y_range=(0.0, 1.0),
        diagonal=True,
    )


def _numbers(caption: str, rows: Sequence[tuple[str, dict]]) -> Html:
    headings = ["of", "patients", "ECE", "ECE unsure", "Brier"]
    body = [
        [
            name,
            Cell(measured.get("patients", "–"), measured.get("patients")),
            *(
                Cell(number(measured.get(key), digits), measured.get(key))
                for key, digits in (("ece", 4), ("ece_unsure", 3), ("brier", 4))
            ),
        ]
        for name, measured in rows
    ]
    return sortable(Table(headings, body, caption=caption))


def _of_run(run: RunFacts) -> list[Html]:
    parts = []
    evaluated = (run.images or {}).get("calibration") or {}
    if evaluated:
        title = f"Networks on {run.partition} patients"
        # With several classes, one diagram per class.
        for target in run.kept_classes or ("",):
            series = [
                _series(name, evaluated[key]["reliability"], number_)
                for number_, name in enumerate(run.modalities)
                if (key := f"{name} {target}".strip()) in evaluated
            ]
            named = f"{title}: {target}" if target else title
            parts.append(_diagram(named, series, "probability of the network"))
        parts.append(_numbers(f"{title}, {run.name}", list(evaluated.items())))
    taught = ((run.relearning or {}).get("calibration") or {}).get("rows") or []
    if taught:
        labels = list(dict.fromkeys(row["label"] for row in taught))
        times = list(dict.fromkeys(row["when"] for row in taught))
        series = [
            _series(
                f"{row['label']}, {row['when']}",
                row["reliability"],
                labels.index(row["label"]),
                row["when"] == times[0],
            )
            for row in taught
        ]
        title = "Teachers' labels against the hidden truth"
        named = [(f"{row['label']}, {row['when']}", row) for row in taught]
        parts += [_diagram(title, series, "soft label"), _numbers(f"{title}, {run.name}", named)]
    return parts


def section(runs: Sequence[RunFacts]) -> Html:
    """Diagrams and their numbers by run."""
    parts_by_run = [(run, _of_run(run)) for run in runs]
    if not any(parts for _, parts in parts_by_run):
        return element("p", "The evaluations of these runs have no calibration.")
    low, high = UNSURE
    return join(
        element(
            "p",
            "On the dotted diagonal, probabilities equal frequencies. Below it, a network is overconfident. All voxels "
            "of the network's grid count. ECE: mean of |probability - observed| over 10 bins, weighted by voxels, most "
            f"of which are background; unsure: only voxels with probabilities in ({low:g}, {high:g}).",
        ),
        by_run([(run.name, element("div", parts, class_="plots")) for run, parts in parts_by_run if parts]),
    )
