"""Tests of the runs against each other, paired over patients."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from semicml_tf.evaluation import comparison, report
from semicml_tf.evaluation.table import class_title
from semicml_tf.reporting.markup import Html, element, join, sortable
from semicml_tf.reporting.run_facts import RunFacts
from semicml_tf.system.tables import Cell, Table

# ml; the same mask on the same grid has the same volume but for rounding.
_SAME_ML = 1e-6


def _truths(run: RunFacts, modalities: Iterable[str | None]) -> dict[tuple[str, str], float | None]:
    """Volume of the truth by modality and patient. Masks of no single modality stand for each of `modalities`."""
    return {
        (modality, case["case_id"]): case.get("truth_ml")
        for row in run.networks
        for modality in modalities
        if row["modality"] == modality or report.answers_for(row, modality)
        for case in row["cases"]
    }


def _differs(first: RunFacts, other: RunFacts) -> str | None:
    """The reason why two runs cannot be compared; None if they can."""
    modalities = dict.fromkeys(row["modality"] for run in (first, other) for row in run.networks)
    own, others = _truths(first, modalities), _truths(other, modalities)
    common = [key for key in own if key in others]
    if not common:
        return "no patient was scored in both"
    for key in common:
        if own[key] is None or others[key] is None or abs(own[key] - others[key]) > _SAME_ML:
            return f"the truth of {key[1]} is another one"
    return None


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def section(runs: Sequence[RunFacts]) -> Html | None:
    """A test of every two runs in each modality; None with fewer than two evaluated runs."""
    held = [run for run in runs if run.networks]
    if len(held) < 2:
        return None
    for other in held[1:]:
        why = "their classes differ" if other.targets != held[0].targets else _differs(held[0], other)
        if why:
            return element("p", f"Not compared: {held[0].name} and {other.name} were not scored alike, {why}.")
    found = comparison.tests([run.metrics for run in held], [run.name for run in held])
    several = bool(held[0].targets)
    body = [
        [
            one["modality"],
            *([class_title(one)] if several else []),
            one["first"],
            one["second"],
            Cell(f"{one['difference']:+.3f}", one["difference"]),
            Cell(f"{one['differing']} of {one['patients']}", one["differing"]),
            Cell(_p(one["p"]), one["p"]),
            Cell(_p(one["p_holm"]), one["p_holm"]),
        ]
        for one in found
    ]
    headings = [
        "network",
        *(["class"] if several else []),
        "run",
        "less run",
        "difference in DSC",
        "patients that differ",
        "p",
        "p corrected",
    ]
    return join(
        sortable(
            Table(headings, body, caption="Difference in mean DSC, and whether other patients would show it, too")
        ),
        element("p", f"{comparison.METHOD}.", class_="note"),
    )
