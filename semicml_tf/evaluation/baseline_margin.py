"""Do networks beat the no-network baselines?"""

from __future__ import annotations

import math
from collections.abc import Mapping

from semicml_tf.evaluation import report


def paired_dice(first: dict, second: dict) -> tuple[float, float, int]:
    """Mean DSC of two rows over their common patients, and the number of these patients; NaN without any."""
    other = {case["case_id"]: case["dice"] for case in second["cases"]}
    pairs = [(case["dice"], other[case["case_id"]]) for case in first["cases"] if case["case_id"] in other]
    if not pairs:
        return math.nan, math.nan, 0
    return *(math.fsum(values) / len(pairs) for values in zip(*pairs)), len(pairs)


def shortfalls(body: Mapping, margin: float) -> list[str]:
    """Compares the mean DSC of each network, or of another tool's masks, with both no-network baselines.

    Some patients lack a modality. A network and a baseline are compared on their common patients.

    Args:
        body: of a `metrics.json`; its ``rows`` are read.
        margin: minimum lead of the network in mean DSC.

    Returns:
        One text per shortfall, with the row's name, the baseline and the missing amount; empty without shortfalls.
    """
    failures = []
    for network in report.methods(body):
        for row in report.baselines(body):
            dice, bar, common = paired_dice(network, row)
            if not common:
                failures.append(f"{network['name']} and '{row['name']}' have no patient in common")
                continue
            missing = bar + margin - dice
            if missing > 0:
                failures.append(
                    f"{network['name']} scores DSC {dice:.3f}, {missing:.3f} short of '{row['name']}' "
                    f"({bar:.3f}) + {margin:g}"
                )
    return failures
