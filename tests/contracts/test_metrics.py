"""Every metric of the catalogue: its range, its value for empty masks, its place in scores and reports."""

import dataclasses
import math
import pickle

import numpy as np
import pytest

from semicml_tf.evaluation import score_table, scores
from semicml_tf.evaluation.metrics import case_score
from semicml_tf.evaluation.metrics.catalogue import METRICS, POLICY, title
from semicml_tf.evaluation.metrics.masks import MaskPair
from semicml_tf.geometry.grid import Grid

GRID = Grid((9, 8, 7), np.diag([1.5, 2.0, 3.0, 1.0]))


def _mask(*boxes) -> np.ndarray:
    mask = np.zeros(GRID.shape, np.uint8)
    for box in boxes:
        mask[tuple(slice(*side) for side in box)] = 1
    return mask


SMALL, LARGE = _mask([(2, 4), (2, 4), (2, 4)]), _mask([(2, 7), (1, 6), (2, 6)])
FAR, NONE = _mask([(7, 9), (6, 8), (5, 7)]), _mask()
PAIRS = {
    "equal": (LARGE, LARGE),
    "part": (SMALL, LARGE),
    "more": (LARGE, SMALL),
    "apart": (SMALL, FAR),
    "missed": (NONE, LARGE),
    "false alarm": (SMALL, NONE),
    "both empty": (NONE, NONE),
}


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_keeps_its_range_and_is_undefined_only_where_it_says_so(name):
    metric = METRICS[name]
    for pair in PAIRS.values():
        value = metric.compute(MaskPair.of(*pair, GRID))
        assert type(value) in (float, int) or (value is None and not metric.always_defined)
        assert value is None or (math.isfinite(value) and metric.low <= value <= metric.high)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_does_not_depend_on_the_kind_of_foreground_or_what_is_around(name):
    metric = METRICS[name]
    wide = Grid(tuple(length + 4 for length in GRID.shape), GRID.affine)
    for pair in (PAIRS["part"], PAIRS["apart"]):
        value = metric.compute(MaskPair.of(*pair, GRID))
        assert metric.compute(MaskPair.of(*(255 * mask for mask in pair), GRID)) == value
        assert metric.compute(MaskPair.of(*(np.pad(mask, 2) for mask in pair), wide)) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_scales_with_the_size_of_voxels_as_its_unit_says(name):
    """Voxels of twice the size: a metric in mm doubles, one in ml is eight times as large, others stay."""
    metric = METRICS[name]
    if metric.at_tolerance:
        return  # the tolerance stays in mm
    twice = Grid(GRID.shape, np.diag([3.0, 4.0, 6.0, 1.0]))
    factor = {"mm": 2.0, "ml": 8.0}.get(name.rpartition("_")[2], 1.0)
    values = [metric.compute(MaskPair.of(*PAIRS[pair], GRID)) for pair in ("part", "more", "apart")]
    scaled = [metric.compute(MaskPair.of(*PAIRS[pair], twice)) for pair in ("part", "more", "apart")]
    assert scaled == pytest.approx([factor * value for value in values], rel=1e-6)


@pytest.mark.parametrize("name", METRICS)
def test_a_miss_never_looks_better_than_a_part_of_the_lesion(name):
    """A method that finds nothing must not gain. Where more is worse, the values have the other sign."""
    metric = METRICS[name]
    values = {pair: metric.compute(MaskPair.of(*PAIRS[pair], GRID)) for pair in ("equal", "part", "missed")}
    assert abs(values["equal"] - values["part"]) <= abs(values["equal"] - values["missed"])


def test_scores_have_every_metric_and_can_be_sent_to_another_process():
    score = case_score.score("a", *PAIRS["part"], GRID)
    assert set(METRICS) < {field.name for field in dataclasses.fields(score)}
    assert pickle.loads(pickle.dumps(score)) == score
    with pytest.raises(ValueError, match="expected masks of shape"):
        case_score.score("a", SMALL[1:], LARGE, GRID)


def test_tables_have_a_column_for_every_metric():
    summary = scores.summarise([case_score.score(name, *pair, GRID) for name, pair in PAIRS.items()])
    columns = [*score_table.means(), *score_table.spread(), *score_table.further(2.0)]
    headings = [column.heading for column in columns]
    assert len(set(headings)) == len(headings)
    assert all(any(heading.startswith(title(name)) for heading in headings) for name in METRICS)
    assert all(str(column.cell(summary)) not in ("-", "undefined") for column in columns)


def test_definitions_have_one_meaning():
    own = [name for metric in METRICS.values() for name in metric.policy]
    assert len(set(own)) == len(own) and set(own) < set(POLICY)
