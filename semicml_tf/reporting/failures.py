"""Who was missed, and in whom something was found where nothing is, by name."""

from __future__ import annotations

from collections.abc import Sequence

from semicml_tf.reporting import tables
from semicml_tf.reporting.markup import Html, element, number
from semicml_tf.reporting.run_facts import RunFacts

_WHAT = {"missed": "missed: a lesion, and nothing was found", "false alarm": "false alarm: found, where no lesion is"}


def _lesions_missed(case: dict) -> int:
    """Lesions of a patient that were not found; 0 where the evaluation did not count them."""
    return int(case.get("lesions_missed") or 0)


def _of_row(run: RunFacts, row: dict) -> list[Html]:
    found = []
    for outcome, what in _WHAT.items():
        names = [case["case_id"] for case in row["cases"] if case.get("outcome") == outcome]
        if names:
            found.append((what, ", ".join(names)))
    partly = [
        f"{case['case_id']} ({_lesions_missed(case)})"
        for case in row["cases"]
        if case.get("outcome") == "both present" and _lesions_missed(case)
    ]
    if partly:
        found.append(("some of the lesions missed (how many)", ", ".join(partly)))
    below = (row.get("failures") or {}).get("dice_below")
    if isinstance(below, list) and below:
        bound = (run.metrics or {}).get("failure_dice")
        names = ", ".join(f"{name} ({number(dice)})" for name, dice in below)
        found.append((f"DSC below {bound}", names))
    lacking = ((run.metrics or {}).get("lacking") or {}).get(row.get("modality")) or []
    if lacking:
        found.append(("not scored: without this image", ", ".join(lacking)))
    return [element("li", element("b", what), ": ", names) for what, names in found]


def section(runs: Sequence[RunFacts]) -> Html:
    """Lists by run and network."""
    parts, well = [], []
    for run in runs:
        for row in run.networks:
            items = _of_row(run, row)
            if not items:
                well.append(f"{run.name}, {row.get('name')}" if len(runs) > 1 else str(row.get("name")))
                continue
            name = f"{run.name}, {row.get('name')}" if len(runs) > 1 else row.get("name")
            parts.append((name, element("ul", items)))
    if well:
        parts.append(("; ".join(well), "nobody"))
    return tables.facts(parts) if parts else element("p", "No scores yet.")
