"""What the numbers of the page mean, where a mask is empty above all."""

from __future__ import annotations

from collections.abc import Sequence

from semicml_tf.reporting import tables
from semicml_tf.reporting.markup import Html
from semicml_tf.reporting.run_facts import RunFacts

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
    "DSC": "2 |P and T| / (|P| + |T|): P is the predicted mask, T the truth; 1 where they are the same, 0 where they "
    "share nothing",
    "PPV": "|P and T| / |P|: how much of what is predicted is true",
    "sensitivity": "|P and T| / |T|: how much of the truth is predicted",
}


def section(runs: Sequence[RunFacts]) -> Html | None:
    """The definitions by which the first evaluated run was scored; None where none was."""
    first = next((run.metrics for run in runs if isinstance((run.metrics or {}).get("policy"), dict)), None)
    if first is None:
        return None
    measured = [
        ("surface DSC's tolerance, mm", first.get("surface_tolerance_mm")),
        ("listed by name below DSC", first.get("failure_dice")),
        ("intervals", first.get("intervals")),
    ]
    return tables.facts(
        [
            *_FORMULAS.items(),
            *((_TITLES.get(name, name), text) for name, text in first["policy"].items()),
            *(pair for pair in measured if pair[1] is not None),
        ]
    )
