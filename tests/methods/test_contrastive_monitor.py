"""Monitoring of the modalities' agreement: closed forms, and no effect on the step."""

import dataclasses

import numpy as np
import pytest

from semicml_tf.losses.asc import asc_loss
from semicml_tf.methods import contrastive_monitor
from semicml_tf.methods.catalogue import MethodSettings
from tests.support import method_batches

NAMES = {"seen_by_both", "seen_by_one", "alike", "apart"}


def _rows(*drawn):
    """Maps of 4 x 4 pixels: a row of each is 1, or all of it is 0.01 where None is drawn."""
    maps = np.full((len(drawn), 4, 4, 1), 0.01, np.float32)
    for index, row in enumerate(drawn):
        if row is not None:
            maps[index] = 0.0
            maps[index, row] = 1.0
    return maps


def _scalars(first, second, patients, **changes):
    how = dataclasses.replace(MethodSettings(), **changes)
    found = contrastive_monitor.scalars({"ct": first, "pet": second}, np.array(patients, np.int32), how)
    return {name: float(value) for name, value in found.items()}


def test_slices_are_counted_by_the_networks_that_predict_foreground():
    found = _scalars(_rows(0, 1, None, None, 2), _rows(0, None, None, 3, 2), [0, 1, 2, 3, 4])
    assert found["seen_by_both"] == pytest.approx(2 / 5)
    assert found["seen_by_one"] == pytest.approx(2 / 5)


def test_positive_similarity_is_over_anchors_and_negative_similarity_over_their_negatives():
    # Slices 0 and 1 are one patient's. Slice 3 is empty to both: no anchor, no negative.
    first, second = _rows(0, 1, 0, None), _rows(0, 2, 0, None)
    found = _scalars(first, second, [0, 0, 1, 2], asc_negatives="other_patients", asc_empty="skip")
    assert found["alike"] == pytest.approx((1 + 0 + 1) / 3, abs=1e-5)
    # Pairs across the patients: slice 2's two maps coincide with both of slice 0's and none of slice 1's.
    assert found["apart"] == pytest.approx(4 / 8, abs=1e-5)
    everything = _scalars(first, second, [0, 0, 1, 2], asc_negatives="all", asc_empty="keep")
    # Two empty maps are alike, and count when they are kept: 3 coinciding pairs of 4.
    assert everything["alike"] == pytest.approx(3 / 4, abs=1e-5)


def test_without_anchors_no_value_is_undefined():
    fog = _rows(None, None)
    assert _scalars(fog, fog, [0, 1]) == dict.fromkeys(NAMES, 0.0)


def test_the_monitor_counts_the_same_pairs_as_the_loss():
    """Where all anchors' negatives are equally alike, the loss follows from `alike` and `apart` alone."""
    first = second = _rows(0, 1, 2)
    found = _scalars(first, second, [0, 1, 2])
    loss = float(asc_loss(first, second, np.arange(3), negatives="other_patients", empty="skip"))
    assert loss == pytest.approx(np.log1p(4 * np.exp(found["apart"] - found["alike"])), rel=1e-5)


@pytest.mark.parametrize("name", ["semi_cml", "prel"])
def test_the_monitor_changes_no_step(name, monkeypatch):
    plain, watched = method_batches.method(name), method_batches.method(name)
    monkeypatch.setattr(plain, "observations", lambda batch, maps, targets: {})
    batch = method_batches.batch(0)
    without, with_them = plain.train_step(batch), watched.train_step(batch)
    assert set(with_them) - set(without) >= NAMES
    for one, other in zip(plain.students["ct"].weights, watched.students["ct"].weights):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
