"""Statistics of an image's values in native units, for verification, prediction and the fingerprint of a dataset."""

from __future__ import annotations

from typing import Any

import numpy as np

from semicml_tf.preprocessing.body_box import body_mask

PERCENTILES = (0.5, 5.0, 25.0, 50.0, 75.0, 95.0, 99.5)
CORE_SHARE = 0.02

_CHUNK = 1 << 20
_DROPPED_BITS = 12
_FINITE = float(np.finfo(np.float32).max)


def intensities(volume: np.ndarray, kind: str) -> dict[str, Any]:
    """Statistics of an image, in one pass over the voxels in memory order.

    Percentiles come from a histogram of the leading bits of the float32 values. Its relative resolution is the same for
    all units, and it does not depend on outliers or on the order of axes. Sorting ten million voxels would take a
    second.

    Args:
        volume: finite values in native units, of any shape.
        kind: kind of a `normalisation.Normalisation`, which defines the voxels of the body.

    Returns:
        JSON values. Of all voxels: ``min``, ``max``, ``integral`` (whole numbers only). Of the body's voxels:
        ``mean``, ``std`` and ``percentiles`` {"0.5": ...}, exact to 12 significant bits; None without a body.
        ``fraction``: the body's fraction of the voxels. ``core_median``: median of the body's voxels above 2 % of its
        99.5th percentile, and ``core_fraction``: their fraction of the body. Unlike the median, ``core_median``
        excludes the air of a PET that is in another unit than SUV.
    """
    flat = np.asarray(volume, np.float32).ravel(order="K")
    counts = np.zeros(1 << (32 - _DROPPED_BITS), np.int64)
    total = squares = 0.0
    integral = True
    for start in range(0, flat.size, _CHUNK):
        chunk = flat[start : start + _CHUNK]
        integral = integral and np.array_equal(np.rint(chunk), chunk)
        body = chunk[body_mask(chunk, kind)]
        exact = body.astype(np.float64)
        total += float(exact.sum())
        squares += float(exact @ exact)
        rounded = body.view(np.uint32) + np.uint32(1 << (_DROPPED_BITS - 1))
        counts += np.bincount(rounded >> np.uint32(_DROPPED_BITS), minlength=counts.size)
    number = int(counts.sum())
    stats: dict[str, Any] = {"mean": None, "std": None, "percentiles": None}
    stats |= {"core_median": None, "core_fraction": None}
    if number:
        mean = total / number
        values, ranks = _sorted(counts)
        percentiles = _at(values, ranks, PERCENTILES)
        core = np.searchsorted(values, CORE_SHARE * percentiles[-1])
        below = int(ranks[core - 1]) if core else 0
        stats = {
            "mean": rounded6(mean),
            "std": rounded6(np.sqrt(max(squares / number - mean**2, 0.0))),
            "percentiles": {f"{p:g}": rounded6(v) for p, v in zip(PERCENTILES, percentiles)},
            "core_median": rounded6(values[np.searchsorted(ranks, below + (number - below - 1) // 2, side="right")]),
            "core_fraction": rounded6((number - below) / number),
        }
    return {
        "min": rounded6(flat.min()),
        "max": rounded6(flat.max()),
        "integral": bool(integral),
        **stats,
        "fraction": rounded6(number / flat.size),
    }


def _sorted(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The histogram's values in ascending order, and the cumulative number of voxels."""
    bins = np.flatnonzero(counts)
    values = (bins.astype(np.uint32) << np.uint32(_DROPPED_BITS)).view(np.float32).astype(np.float64)
    values = np.clip(values, -_FINITE, _FINITE)  # the largest float32 is rounded to infinity
    order = np.argsort(values, kind="stable")
    return values[order], np.cumsum(counts[bins][order])


def _at(values: np.ndarray, ranks: np.ndarray, percentiles: tuple[float, ...]) -> np.ndarray:
    """Percentiles: the values at the nearest ranks, without interpolation."""
    wanted = np.array(percentiles) / 100 * (ranks[-1] - 1)
    return values[np.searchsorted(ranks, np.round(wanted), side="right")]


def rounded6(value: Any) -> Any:
    """Rounds to six significant digits, so that the rounding of sums does not change files."""
    if np.ndim(value):
        return [rounded6(item) for item in value]
    return float(f"{float(value):.6g}")
