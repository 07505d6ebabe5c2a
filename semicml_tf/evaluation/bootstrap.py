"""Confidence intervals of means over patients, by resampling the patients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LEVEL = 0.95
RESAMPLES = 9999
SEED = 0
# With fewer patients, the coverage is far below the level.
FEWEST = 5

# Share of intervals that contain the true mean, by the number of patients. For normal scores the interval is the mean
# ± 1.96 standard errors, with divisor n in the variance. The ratio follows Student's t:
# P(|t of n - 1| < 1.96 sqrt((n - 1) / n)).
COVERAGE = {5: 0.85, 9: 0.90, 16: 0.92, 35: 0.94}

# Goes into every report.
METHOD = (
    f"{LEVEL:.0%} interval of the mean over patients: percentile bootstrap (Efron and Tibshirani 1993), {RESAMPLES} "
    f"resamples of the patients, seed {SEED}; none for fewer than {FEWEST} patients. For few patients it is too "
    "narrow: for normal scores, it contains the true mean in about "
    f"{', '.join(f'{share:.0%} with {patients}' for patients, share in COVERAGE.items())} patients. "
    "It covers other patients of the same population, not another training or other labelled patients"
)


def intervals(rows: Sequence[Sequence[float]]) -> list[list[float] | None]:
    """Intervals of the means of several measures. All measures use the same resamples of the patients.

    Args:
        rows: by measure, by patient; all of one length.

    Returns:
        By measure ``[low, high]``, or None where there are fewer than `FEWEST` patients.
    """
    if not rows or len(rows[0]) < FEWEST:
        return [None] * len(rows)
    import scipy.stats

    interval = scipy.stats.bootstrap(
        (np.asarray(rows, np.float64),),
        np.mean,
        axis=-1,
        confidence_level=LEVEL,
        n_resamples=RESAMPLES,
        method="percentile",
        # SciPy before 1.15 has no other name for this argument.
        random_state=np.random.default_rng(SEED),
    ).confidence_interval
    return [[float(low), float(high)] for low, high in zip(interval.low, interval.high)]
