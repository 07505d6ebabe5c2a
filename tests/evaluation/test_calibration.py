"""Numbers of soft labels against truths that can be counted by hand."""

import numpy as np
import pytest

from semicml_tf.evaluation import calibration


def _volume(*values):
    return np.array(values, np.float32).reshape(1, 1, -1)


def test_bins_hold_their_lower_edge_and_the_last_one_holds_one():
    bins = calibration.binned(_volume(0.0, 0.05, 0.5, 0.55, 0.95, 1.0), _volume(0, 0, 1, 0, 1, 1))
    assert bins.count.tolist() == [2, 0, 0, 0, 0, 2, 0, 0, 0, 2]
    rows = calibration.reliability(bins)
    assert rows[0] == {"low": 0.0, "high": 0.1, "count": 2, "mean_label": pytest.approx(0.025), "observed": 0.0}
    assert rows[5]["mean_label"] == pytest.approx(0.525) and rows[5]["observed"] == 0.5
    assert rows[9]["mean_label"] == pytest.approx(0.975) and rows[9]["observed"] == 1.0
    assert rows[1]["count"] == 0 and rows[1]["mean_label"] is None and rows[1]["observed"] is None


def test_labels_that_are_frequencies_have_no_calibration_error():
    q = _volume(*[0.25] * 8, *[0.75] * 4)
    truth = _volume(*[1] * 2, *[0] * 6, *[1] * 3, 0)
    assert calibration.expected_calibration_error(calibration.binned(q, truth)) == pytest.approx(0.0)


def test_calibration_error_is_weighted_by_voxels():
    # Six voxels say 0.25 and are never true, two say 0.75 and always are: (6 * 0.25 + 2 * 0.25) / 8.
    bins = calibration.binned(_volume(*[0.25] * 6, *[0.75] * 2), _volume(*[0] * 6, *[1] * 2))
    assert calibration.expected_calibration_error(bins) == pytest.approx(0.25)
    none = calibration.binned(np.zeros(0), np.zeros(0))
    assert calibration.expected_calibration_error(none) is None


def test_a_patient_is_counted_by_hand():
    q = _volume(0.0, 0.0, 0.01, 0.2, 0.5, 0.9, 0.4, 1.0)
    truth = _volume(0, 0, 0, 0, 0, 1, 1, 1)
    found = calibration.measures([calibration.tally(q, truth)])
    assert found["brier"] == pytest.approx((0.0001 + 0.04 + 0.25 + 0.01 + 0.36) / 8)
    assert found["kept"] == pytest.approx(2 / 3)
    assert found["mass_kept"] == pytest.approx(2.3 / 3)
    assert found["ppv"] == pytest.approx(2 / 3)
    assert found["dice"] == pytest.approx(2 * 2 / (3 + 3))
    # Sure voxels count in one ECE and not in the other.
    assert found["unsure"] == 4
    assert found["ece_unsure"] == pytest.approx((0.2 + 0.5 + 0.1 + 0.6) / 4)
    assert found["ece"] == pytest.approx((0.01 + 0.2 + 0.5 + 0.6 + abs(1.9 - 2)) / 8)


def test_patients_are_pooled_except_for_dice():
    sure = calibration.tally(_volume(1, 1, 0, 0), _volume(1, 1, 0, 0))
    missed = calibration.tally(_volume(0, 0, 0, 0, 0, 0), _volume(1, 1, 1, 1, 1, 0))
    healthy = calibration.tally(_volume(0.75, 0), _volume(0, 0))
    found = calibration.measures([sure, missed, healthy])
    assert found["patients"] == 3
    assert found["kept"] == found["mass_kept"] == pytest.approx(2 / 7)
    assert found["ppv"] == pytest.approx(2 / 3)
    assert found["brier"] == pytest.approx((5 + 0.75**2) / 12)
    assert (found["dice"], found["dice_patients"]) == (0.5, 2)
    counts = [row["count"] for row in found["reliability"]]
    assert counts == [9, 0, 0, 0, 0, 0, 0, 1, 0, 2]


def test_undefined_numbers_are_none():
    found = calibration.measures([calibration.tally(_volume(0, 0), _volume(0, 0))])
    assert [found[name] for name in ("kept", "mass_kept", "ppv", "dice", "ece_unsure")] == [None] * 5
    assert found["ece"] == found["brier"] == 0.0
    with pytest.raises(ValueError, match="one shape"):
        calibration.tally(np.zeros((1, 2, 3)), np.zeros((1, 2, 2)))
    with pytest.raises(ValueError, match="one patient"):
        calibration.measures([])
