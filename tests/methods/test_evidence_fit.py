"""The logistic regression of the truth on the teachers' log-odds, on drawn patients and in closed form."""

import types

import numpy as np
import pytest
import scipy.special

from semicml_tf.labels import PLAIN, SOFTMAX, LabelDefinition
from semicml_tf.methods.evidence_fit import Samples, regression

NO_CUTS = np.zeros((2, 1))


def _patient(seed: int, noise: float = 2.0, size: int = 1000):
    """A teacher of true log-odds, one of pure noise, and the truth that the first one's log-odds predict."""
    generator = np.random.default_rng(seed)
    good, useless = generator.normal(-1.0, 2.0, size), generator.normal(0.0, noise, size)
    truth = generator.uniform(size=size) < scipy.special.expit(good)
    shape = (1, 10, 10, size // 100)
    maps = {name: scipy.special.expit(odds).reshape(shape) for name, odds in (("ct", good), ("pet", useless))}
    return types.SimpleNamespace(labels=PLAIN, label=truth.reshape(shape[1:]).astype(np.uint8)), maps


def _samples(patients, modalities=("ct", "pet")) -> Samples:
    samples = Samples(modalities)
    for record, maps in patients:
        samples.add(record, maps)
    return samples


def test_with_many_patients_noise_weighs_nothing_and_good_evidence_keeps_its_weight():
    slopes, offsets = _samples(map(_patient, range(60))).fit(0, (0, 1), NO_CUTS, 1.0)
    np.testing.assert_allclose([*slopes, *offsets], [1.0, 0.0, 0.0], atol=0.1)


def test_with_one_patient_the_prior_holds_and_a_wider_prior_yields():
    samples = _samples([_patient(0)])
    noise = [samples.fit(0, (0, 1), NO_CUTS, deviation)[0][1] for deviation in (0.1, 1.0, 10.0)]
    assert noise[0] > 0.98 and noise[0] > noise[1] > noise[2] and noise[2] < 0.2


def test_a_deviation_of_zero_keeps_the_plain_sum_exactly():
    slopes, offsets = _samples([_patient(0)]).fit(0, (0, 1), NO_CUTS, 0.0)
    assert slopes.tolist() == [1.0, 1.0] and offsets.tolist() == [0.0]


def test_equal_teachers_get_equal_slopes():
    record, maps = _patient(1)
    slopes, _ = _samples([(record, {"ct": maps["ct"], "pet": maps["ct"]})]).fit(0, (0, 1), NO_CUTS, 3.0)
    # Together they weigh about as much as one of them.
    assert slopes[0] == slopes[1] and 0.4 < slopes[0] < 0.8


def test_the_opposite_of_a_teacher_is_no_evidence():
    evidence = np.linspace(-3, 3, 50).reshape(-1, 1, 1)
    truth = (evidence[:, 0] < 0).astype(float)
    slopes, offsets = regression(evidence, truth, np.ones(50), 10.0)
    assert slopes[0] == 0.0 and offsets[0] == pytest.approx(0.0, abs=1e-3)


def test_an_offset_alone_has_its_closed_form():
    """Evidence of 0 says nothing: without a prior to speak of, the offset is the log-odds of the weighted truth."""
    weights = np.array([1.0, 2.0, 5.0])
    _, offsets = regression(np.zeros((3, 1, 1)), np.array([[1.0], [1.0], [0.0]]), weights, 1e4)
    assert offsets[0] == pytest.approx(np.log(3 / 5), abs=1e-4)
    truth = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    _, offsets = regression(np.zeros((3, 1, 2)), truth, weights, 1e4)
    np.testing.assert_allclose(offsets, [np.log(1 / 5), np.log(2 / 5)], atol=1e-4)


def test_the_gradient_vanishes_at_the_fit():
    """The optimum of the posterior: ``sum of errors + (value - prior) / deviation^2 = 0`` for each number."""
    generator = np.random.default_rng(0)
    evidence, weights = generator.normal(size=(60, 2, 3)), generator.uniform(size=60)
    truth = np.eye(4)[generator.integers(0, 4, 60)][:, 1:]
    slopes, offsets = regression(evidence, truth, weights, 0.5)
    odds = np.einsum("nmk,m->nk", evidence, slopes) + offsets
    p = scipy.special.softmax(np.concatenate([np.zeros((60, 1)), odds], axis=1), axis=1)[:, 1:]
    error = weights[:, np.newaxis] * (p - truth)
    assert (slopes > 0).all()
    np.testing.assert_allclose(np.einsum("nk,nmk->m", error, evidence) + (slopes - 1) / 0.25, 0, atol=1e-4)
    np.testing.assert_allclose(error.sum(axis=0) + offsets / 0.25, 0, atol=1e-4)


def test_evidence_counts_from_the_threshold():
    """A teacher at its threshold everywhere says nothing about a slope, which keeps its prior."""
    record, maps = _patient(2)
    level = {**maps, "pet": np.full_like(maps["pet"], 0.3)}
    slopes, _ = _samples([(record, level)]).fit(0, (0, 1), np.array([[0.0], [np.log(3 / 7)]]), 1.0)
    assert slopes[1] == pytest.approx(1.0, abs=1e-6)


def test_patients_count_where_they_have_the_modalities():
    record, maps = _patient(3)
    samples = _samples([(record, maps), (record, {"ct": maps["ct"]}), (record, {"mr": maps["ct"]})])
    both, alone = samples.fit(0, (0, 1), NO_CUTS, 1.0), samples.fit(0, (0,), NO_CUTS, 1.0)
    assert both[0].shape == (2,) and alone[0].shape == (1,)
    # Without a patient who has PET there is nothing to fit.
    without = _samples([(record, {"ct": maps["ct"]})]).fit(0, (0, 1), NO_CUTS, 1.0)
    assert without[0].tolist() == [1.0, 1.0] and without[1].tolist() == [0.0]


def test_a_sample_stands_for_all_voxels_of_its_patient():
    generator = np.random.default_rng(0)
    label = np.zeros((10, 100, 100), np.uint8)
    label[:, :20] = 1
    p = np.where(label == 1, 0.9, generator.uniform(0, 0.05, label.shape))[np.newaxis]
    samples = _samples([(types.SimpleNamespace(labels=PLAIN, label=label), {"ct": p, "pet": p})])
    (sample,) = samples.patients[0]
    assert len(sample.weights) < label.size / 10 and sample.log_odds.shape == (len(sample.weights), 2, 1)
    # Foreground counts 1 in all, the rest 4 times as much: it has 4 times as many voxels.
    inside = sample.truth[:, 0] == 1
    np.testing.assert_allclose([sample.weights[inside].sum(), sample.weights[~inside].sum()], [1.0, 4.0])


def test_ignored_voxels_and_patients_without_foreground_do_not_count():
    target = LabelDefinition({"wt": (1,), "tc": (2,)}, ignore_value=255)
    label = np.array([[[1, 0, target.ignored_code, target.ignored_code]]], np.uint8)
    maps = {"ct": np.full((2, 1, 1, 4), [0.9, 0.01, 0.9, 0.9]), "pet": np.full((2, 1, 1, 4), 0.01)}
    maps["ct"][1] = 0.01
    samples = _samples([(types.SimpleNamespace(labels=target, label=label), maps)])
    wt, tc = samples.patients[0]
    assert tc is None and (wt.truth[:, 0] == (wt.log_odds[:, 0, 0] > 0)).all()
    np.testing.assert_allclose(wt.weights.sum(), 2.0)


def test_exclusive_classes_share_slopes_and_have_offsets():
    target = LabelDefinition({"liver": (1,), "kidney": (2,)}, SOFTMAX)
    generator = np.random.default_rng(0)
    odds = generator.normal(size=(3, 20, 10, 10))
    whole = scipy.special.softmax(odds, axis=0)
    label = (whole.cumsum(axis=0) < generator.uniform(size=whole.shape[1:])).sum(axis=0).astype(np.uint8)
    flat = np.full((2, 20, 10, 10), 1 / 3)
    record = types.SimpleNamespace(labels=target, label=label)
    samples = _samples([(record, {"ct": whole[1:], "pet": flat})] * 20)
    slopes, offsets = samples.fit(0, (0, 1), np.zeros((2, 2)), 1.0)
    # What is true is kept, and what says nothing keeps its prior.
    np.testing.assert_allclose(slopes, [1.0, 1.0], atol=0.15)
    np.testing.assert_allclose(offsets, [0.0, 0.0], atol=0.15)
