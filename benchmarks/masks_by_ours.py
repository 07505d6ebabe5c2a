"""This package's sides of `benchmarks.metrics_speed`: competitors that score whole masks.

    python -m benchmarks.masks_by_ours HOW MASKS.npz

``all`` computes all measures of `case_score.score`. ``hd95`` computes DSC and HD95. ``library`` computes the same two
measures with the distances of google-deepmind/surface-distance.
"""

from __future__ import annotations

import importlib.metadata
import sys
import warnings

import numpy as np
import surface_distance

from benchmarks.on_request import repeat_on_request
from semicml_tf.evaluation import surfaces
from semicml_tf.evaluation.metrics import case_score
from semicml_tf.evaluation.metrics.hd95_mm import PERCENT
from semicml_tf.geometry.grid import Grid
from semicml_tf.inference.agreement import dice


def measure_all(prediction: np.ndarray, truth: np.ndarray, spacing_mm: tuple[float, ...]) -> tuple[float, float]:
    """DSC and HD95, by computing all measures."""
    score = case_score.score("case", prediction, truth, Grid(truth.shape, np.diag([*spacing_mm, 1.0])))
    return score.dice, score.hd95_mm


def measure_hd95(prediction: np.ndarray, truth: np.ndarray, spacing_mm: tuple[float, ...]) -> tuple[float, float]:
    """DSC and HD95, by computing only these."""
    found = surfaces.surface_distances(prediction, truth, spacing_mm)
    return dice(prediction, truth), surface_distance.compute_robust_hausdorff(found, PERCENT)


def measure_by_library(prediction: np.ndarray, truth: np.ndarray, spacing_mm: tuple[float, ...]) -> tuple[float, float]:
    """DSC and HD95 by the library surface-distance."""
    found = surface_distance.compute_surface_distances(truth, prediction, spacing_mm)
    hd95 = surface_distance.compute_robust_hausdorff(found, PERCENT)
    return surface_distance.compute_dice_coefficient(truth, prediction), hd95


WAYS = {"all": measure_all, "hd95": measure_hd95, "library": measure_by_library}


def main(how: str, path: str) -> None:
    """Scores once, prints a line, and then repeats on request."""
    warnings.simplefilter("ignore")
    held = np.load(path)
    masks = held["prediction"], held["truth"], tuple(held["spacing_mm"].tolist())
    found = WAYS[how](*masks)
    version = importlib.metadata.version("surface-distance")
    facts = {"engine": f"surface-distance {version}", "dice": found[0], "hd95_mm": found[1]}
    repeat_on_request(facts, lambda: WAYS[how](*masks))


if __name__ == "__main__":
    main(*sys.argv[1:])
