"""Whether networks beat the rows that read none."""

from __future__ import annotations

import pathlib

from semicml_tf.evaluation import report


def beats_blind(path: str | pathlib.Path, margin: float) -> list[str]:
    """Compares each network's mean DSC with both blind rows.

    Args:
        path: of a `metrics.json`.
        margin: by how much mean DSC must exceed each of them.

    Returns:
        One text per shortfall that names the modality, the row and the missing amount; empty if none.
    """
    body = report.load(path)
    failures = []
    for network in report.networks(body):
        for row in report.blind_rows(body):
            dice, bar = network["summary"]["dice"]["mean"], row["summary"]["dice"]["mean"]
            missing = bar + margin - dice
            if missing > 0:
                failures.append(
                    f"{network['modality']} scores DSC {dice:.3f}, {missing:.3f} short of '{row['name']}' "
                    f"({bar:.3f}) + {margin:g}"
                )
    return failures
