"""The competitors of the benchmark of scores measure the same; their speed is not judged here."""

import numpy as np
import pytest

from benchmarks import masks_by_ours, metrics_speed


@pytest.mark.parametrize("kind", metrics_speed.KINDS)
def test_our_ways_give_the_same_numbers(kind):
    prediction, truth = metrics_speed.masks(kind, (48, 40, 32))
    found = [way(prediction, truth, (1.0, 1.5, 2.0)) for way in masks_by_ours.WAYS.values()]
    assert 0 < found[0][0] < 1 and found[0][1] > 0
    assert np.allclose(found, found[0], rtol=1e-12)


def test_specks_lie_far_from_the_lesion():
    boxes = [np.argwhere(metrics_speed.masks(kind, (48, 40, 32))[0]) for kind in ("compact", "scattered")]
    compact, scattered = (np.prod(np.ptp(box, axis=0) + 1) for box in boxes)
    assert scattered > 10 * compact
