"""Every patient's score as a dot, by network and run."""

from __future__ import annotations

from collections.abc import Sequence

from semicml_tf.evaluation.metrics import catalogue
from semicml_tf.reporting import columns, strip_chart
from semicml_tf.reporting.markup import Html, element, join, number
from semicml_tf.reporting.run_facts import RunFacts
from semicml_tf.reporting.strip_chart import Strip

# Those that are drawn where they are there; the others stand in the tables.
_DRAWN = ("dice", "surface_dice", "hd95_mm", "volume_error_ml")
_SHARES = ("dice", "surface_dice", "iou")


def failed(case: dict) -> bool:
    """Whether a mask is there where it should not be, or the other way round."""
    return case.get("outcome") not in (None, "both present", "both empty")


def _strip(run: RunFacts, row: dict, metric: str, alone: bool) -> Strip:
    dots = [
        (
            float(case[metric]),
            f"{case['case_id']}: {number(case[metric], catalogue.digits(metric))} ({case.get('outcome', '')})",
            failed(case),
        )
        for case in row["cases"]
        if columns.is_number(case.get(metric))
    ]
    modality = row.get("modality") or row.get("name")
    colour = run.modalities.index(modality) if modality in run.modalities else 2
    return Strip(str(modality) if alone else f"{run.name}, {modality}", colour, dots)


def section(runs: Sequence[RunFacts]) -> Html:
    """A figure a metric."""
    held = [(run, row) for run in runs for row in run.networks]
    if not held:
        return element("p", "No scores yet.")
    there = columns.of_cases([row for _, row in held])
    alone = len({run.key for run, _ in held}) == 1
    # Modality by modality, so that the runs stand one below the other.
    held.sort(
        key=lambda pair: (
            pair[0].modalities.index(pair[1]["modality"]) if pair[1].get("modality") in pair[0].modalities else 99
        )
    )
    figures = []
    for metric in (name for name in _DRAWN if name in there):
        strips = [_strip(run, row, metric, alone) for run, row in held]
        name = columns.title(metric)
        figures.append(strip_chart.strips(name, strips, name, (-0.02, 1.02) if metric in _SHARES else None))
    return join(
        element(
            "p",
            "A dot is a patient, the upright their median, a cross a patient who was missed or in whom something was "
            "found where nothing is. The pointer over a dot shows the name.",
        ),
        element("div", figures, class_="plots wide"),
    )
