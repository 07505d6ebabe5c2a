"""Confidence intervals of means over patients, by drawing the patients anew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LEVEL = 0.95
RESAMPLES = 9999
SEED = 0
# With fewer patients the interval holds the true mean far more seldom than it says.
FEWEST = 5

# Goes into every report. Shares by simulation (docs/evaluation.md).
METHOD = (
    f"{LEVEL:.0%} interval of the mean over patients: percentile bootstrap (Efron and Tibshirani 1993), {RESAMPLES} "
    f"resamples of the patients, seed {SEED}; none for fewer than {FEWEST} patients. It is too narrow for few: "
    "instead of 95 % it holds the true mean in about 83 % of cases with 5 patients, 89 % with 9, 92 % with 16, 94 % "
    "with 35. It speaks of other patients of the same kind, not of another training or another draw of labels"
)


def intervals(rows: Sequence[Sequence[float]]) -> list[list[float] | None]:
    """Intervals of the means of several measures of the same patients, who are drawn alike for all.

    Args:
        rows: by measure, by patient; all of one length.

    Returns:
        By measure ``[low, high]``, or None where there are fewer than `FEWEST` patients.
    """
    if not rows or len(rows[0]) < FEWEST:
        return [None] * len(rows)
    import scipy.stats

    found = scipy.stats.bootstrap(
        (np.asarray(rows, np.float64),),
        np.mean,
        axis=-1,
        confidence_level=LEVEL,
        n_resamples=RESAMPLES,
        method="percentile",
        # SciPy below 1.15 knows no other name for it.
        random_state=np.random.default_rng(SEED),
    ).confidence_interval
    return [[float(low), float(high)] for low, high in zip(found.low, found.high)]
