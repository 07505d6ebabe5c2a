"""Compares the runs by tests that are paired over patients."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from semicml_tf.evaluation import comparison, report
from semicml_tf.evaluation.table import class_title
from semicml_tf.reporting.markup import Html, element, join, sortable
from semicml_tf.reporting.run_facts import RunFacts
from semicml_tf.system.tables import Cell, Table

# In ml. Equal masks on the same grid have equal volumes up to rounding.
_SAME_ML = 1e-6


def _truths(run: RunFacts, modalities: Iterable[str | None]) -> dict[tuple[str, str], float | None]:
    """Volume of the truth by modality and patient. Masks of no single modality count in all `modalities`."""
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
    first_truths, other_truths = _truths(first, modalities), _truths(other, modalities)
    common = [key for key in first_truths if key in other_truths]
    if not common:
        return "no patient was scored in both"
    for key in common:
        if (
            first_truths[key] is None
            or other_truths[key] is None
            or abs(first_truths[key] - other_truths[key]) > _SAME_ML
        ):
            return f"the truth of {key[1]} differs"
    return None


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def section(runs: Sequence[RunFacts]) -> Html | None:
    """Tests of all pairs of runs in each modality; None with fewer than two evaluated runs."""
    scored = [run for run in runs if run.networks]
    if len(scored) < 2:
        return None
    for other in scored[1:]:
        reason = "their classes differ" if other.targets != scored[0].targets else _differs(scored[0], other)
        if reason:
            return element("p", f"Not compared: {scored[0].name} and {other.name} were not scored alike, {reason}.")
    tests = comparison.tests([run.metrics for run in scored], [run.name for run in scored])
    several = bool(scored[0].targets)
    body = [
        [
            test["modality"],
            *([class_title(test)] if several else []),
            test["first"],
            test["second"],
            Cell(f"{test['difference']:+.3f}", test["difference"]),
            Cell(f"{test['differing']} of {test['patients']}", test["differing"]),
            Cell(_p(test["p"]), test["p"]),
            Cell(_p(test["p_holm"]), test["p_holm"]),
        ]
        for test in tests
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
        sortable(Table(headings, body, caption="Difference in mean DSC, and its p-value over patients")),
        element("p", f"{comparison.METHOD}.", class_="note"),
    )
