"""Whether networks beat the rows that read none."""

from __future__ import annotations

import math
from collections.abc import Mapping

from semicml_tf.evaluation import report


def paired_dice(first: dict, second: dict) -> tuple[float, float, int]:
    """Mean DSC of two rows over the patients that both have, and the number of these; NaN where there is none."""
    other = {case["case_id"]: case["dice"] for case in second["cases"]}
    pairs = [(case["dice"], other[case["case_id"]]) for case in first["cases"] if case["case_id"] in other]
    if not pairs:
        return math.nan, math.nan, 0
    return *(math.fsum(values) / len(pairs) for values in zip(*pairs)), len(pairs)


def shortfalls(body: Mapping, margin: float) -> list[str]:
    """Compares each network's mean DSC with both blind rows.

    Where a network and a row were not scored on the same patients, since some lack a modality, those that
    both have count.

    Args:
        body: of a `metrics.json`; its ``rows`` are read.
        margin: by how much mean DSC must exceed each of them.

    Returns:
        One text per shortfall that names the modality, the row and the missing amount; empty if none.
    """
    failures = []
    for network in report.networks(body):
        for row in report.blind_rows(body):
            dice, bar, common = paired_dice(network, row)
            if not common:
                failures.append(f"{network['modality']} and '{row['name']}' have no patient in common")
                continue
            missing = bar + margin - dice
            if missing > 0:
                failures.append(
                    f"{network['modality']} scores DSC {dice:.3f}, {missing:.3f} short of '{row['name']}' "
                    f"({bar:.3f}) + {margin:g}"
                )
    return failures
