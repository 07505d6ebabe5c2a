"""Mutual terms of several modalities: the mean over all pairs, and with two modalities the pair's own value."""

import itertools
import json

import numpy as np
import pytest
import tensorflow as tf

from semicml_tf.losses.asc import asc_loss
from semicml_tf.losses.consistency import squared_difference
from semicml_tf.losses.pseudo_labels import cross_pseudo_supervision
from semicml_tf.methods import contrastive_monitor
from semicml_tf.methods.catalogue import MethodSettings
from semicml_tf.methods.modality_pairs import mean_over_pairs
from semicml_tf.methods.soft_labels import soft_label
from tests.support import method_batches, two_modality_steps

THREE = ("ct", "pet", "mr")
PAIRS = list(itertools.combinations(THREE, 2))
AT_ONCE = {"lr_warmup_epochs": 0.0, "burn_in": 0.0, "ramp": 0.0, "unlabelled_ramp": 0.0}


def _maps(seed: int):
    rng = np.random.default_rng(seed)
    size = (4, method_batches.WINDOW, method_batches.WINDOW, 1)
    return {name: tf.constant(rng.uniform(size=size).astype(np.float32)) for name in THREE}


@pytest.fixture(scope="module")
def batch():
    return method_batches.batch(0, modalities=THREE)


def test_one_pair_gives_its_own_value():
    value = tf.constant(0.1)
    assert mean_over_pairs(("ct", "pet"), lambda one, other: value) is value
    seen = []
    mean_over_pairs(("b", "a", "c"), lambda one, other: seen.append((one, other)) or 0.0)
    assert seen == [("b", "a"), ("b", "c"), ("a", "c")]


@pytest.mark.parametrize("case", two_modality_steps.CASES)
def test_two_modalities_take_the_steps_of_earlier_versions(case):
    stored = json.loads(two_modality_steps.STORED.read_text())[case]
    for step, expected in zip(two_modality_steps.steps(case), stored, strict=True):
        # Other processors round the 16th digit differently.
        assert step == pytest.approx(expected, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("target", ["student", "average"])
def test_semi_cml_contrasts_and_compares_each_pair(batch, target):
    method = method_batches.method(
        "semi_cml", modalities=THREE, mse_weight=3.0, mse_target=target, mse_weighting="none", asc_weight=2.0, **AT_ONCE
    )
    maps, averages, patients = _maps(1), _maps(2), batch["unlabelled"]["patient"]
    terms = method.loss_terms(batch, {"labelled": _maps(3), "unlabelled": maps}, averages)
    contrasts = [asc_loss(maps[a], maps[b], patients, negatives="other_patients", empty="skip") for a, b in PAIRS]
    assert float(terms["asc"]) == pytest.approx(2.0 * np.mean(contrasts), rel=1e-5)
    compared = [(maps[a], maps[b]) for a, b in PAIRS]
    if target == "average":
        compared = [(maps[a], averages[b]) for a, b in itertools.permutations(THREE, 2)]
    differences = [np.mean(squared_difference(p, q)) for p, q in compared]
    assert float(terms["mse"]) == pytest.approx(3.0 * np.mean(differences), rel=1e-5)


def test_cross_modal_cps_learns_from_each_other_modality(batch):
    method, maps = method_batches.method("cross_modal_cps", modalities=THREE), _maps(1)
    term = method.unlabelled_term({"unlabelled": maps}, {}, batch["unlabelled"])
    expected = np.mean([cross_pseudo_supervision(maps[a], maps[b]) for a, b in PAIRS], axis=0)
    np.testing.assert_allclose(term, expected, rtol=1e-5)


def test_the_monitor_reports_means_over_pairs(batch):
    maps, patients = _maps(1), batch["unlabelled"]["patient"]
    found = contrastive_monitor.scalars(maps, patients, MethodSettings())
    each = [contrastive_monitor.scalars({a: maps[a], b: maps[b]}, patients, MethodSettings()) for a, b in PAIRS]
    assert found.keys() == each[0].keys()
    for name, value in found.items():
        assert float(value) == pytest.approx(np.mean([one[name] for one in each]), rel=1e-5)


def test_prel_adds_the_evidence_of_all_teachers_and_the_best_modality_is_strong(batch):
    method = method_batches.method(
        "prel", modalities=THREE, scores={"ct": 0.4, "pet": 0.5, "mr": 0.6}, prel_strong_from=0.5
    )
    assert method.teacher_modality == "mr" and set(method.labellers) == set(THREE)
    maps, thresholds = _maps(1), {"ct": 0.2, "pet": 0.5, "mr": 0.7}
    for name, value in thresholds.items():
        method.thresholds[name].assign(value)
    q = soft_label(maps, method.thresholds, method.settings)
    odds = np.prod([np.asarray(p) / (1 - p) * (1 - thresholds[name]) / thresholds[name] for name, p in maps.items()], 0)
    np.testing.assert_allclose(q, odds / (1 + odds), atol=1e-4)
    terms = method.loss_terms(batch, {"labelled": _maps(3), "unlabelled": maps}, {"q": q})
    assert {name: float(value) > 0 for name, value in terms.items() if name != "supervised"} == {
        "teach_ct": True,
        "teach_pet": True,
        "teach_mr": False,  # The strongest modality joins later.
    }
