"""Lists the patients on whom a method failed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from semicml_tf.evaluation.metrics.case_score import CaseScore
from semicml_tf.evaluation.metrics.catalogue import MAIN, METRICS

DICE_BOUND = 0.5
# Metrics that are always numbers. A patient with None, NaN or infinity in one of them has no score.
_ALWAYS = tuple(name for name in MAIN if METRICS[name].always_defined)


def listed(scores: Sequence[CaseScore], dice_bound: float = DICE_BOUND) -> dict[str, list]:
    """The failed patients by kind of failure. Each patient is in one list.

    Args:
        scores: of one method.
        dice_bound: a lower DSC is a failure.

    Returns:
        ``missed`` and ``false_alarms``: names; ``dice_below``: pairs of name and DSC of the other failed patients, the
        worst first; ``not_finite``: names of patients without a finite DSC or distance.
    """

    def finite(score: CaseScore) -> bool:
        return all(value is not None and math.isfinite(value) for value in (getattr(score, name) for name in _ALWAYS))

    known = [score for score in scores if finite(score)]
    low = [score for score in known if score.outcome not in ("missed", "false alarm") and score.dice < dice_bound]
    return {
        "missed": [score.case_id for score in known if score.outcome == "missed"],
        "false_alarms": [score.case_id for score in known if score.outcome == "false alarm"],
        "dice_below": [
            [score.case_id, score.dice] for score in sorted(low, key=lambda score: (score.dice, score.case_id))
        ],
        "not_finite": [score.case_id for score in scores if not finite(score)],
    }


def sentence(failed: dict[str, list], dice_bound: float) -> str:
    """The lists as a line of text; "none" without failures."""
    parts = []
    if failed["missed"]:
        parts.append(f"missed {', '.join(failed['missed'])}")
    if failed["false_alarms"]:
        parts.append(f"false alarm {', '.join(failed['false_alarms'])}")
    if failed["dice_below"]:
        parts.append(
            f"DSC below {dice_bound:g} {', '.join(f'{name} ({dice:.3f})' for name, dice in failed['dice_below'])}"
        )
    if failed["not_finite"]:
        parts.append(f"no finite number {', '.join(failed['not_finite'])}")
    return "; ".join(parts) or "none"
