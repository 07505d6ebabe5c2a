"""The ASC loss against closed forms, a written-out version, and its invariances."""

import math

import numpy as np
import pytest
import tensorflow as tf

from semicml_tf.losses.asc import asc_loss, similarity_matrix


def _maps(count, seed, low=0.0, high=1.0):
    return np.random.default_rng(seed).uniform(low, high, (count, 8, 8, 1)).astype(np.float32)


def _disjoint(count):
    """Maps that are 1 on one row each: pairs coincide, different slices share nothing."""
    maps = np.zeros((count, 32, 8, 1), np.float32)
    for index in range(count):
        maps[index, index] = 1.0
    return maps


@pytest.mark.parametrize("count", [1, 2, 7, 26])
@pytest.mark.parametrize("kind", ["dice", "iou", "cosine"])
def test_identical_maps_cost_the_logarithm_of_the_alternatives(count, kind):
    maps = np.repeat(_maps(1, 0), count, axis=0)
    assert float(asc_loss(maps, maps, similarity=kind)) == pytest.approx(math.log(2 * count - 1), abs=1e-5)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0, 2.0])
def test_coinciding_pairs_of_disjoint_slices_reach_the_lower_end(temperature):
    count = 26
    maps = _disjoint(count)
    lower = math.log(1 + (2 * count - 2) * math.exp(-1 / temperature))
    assert float(asc_loss(maps, maps, temperature=temperature)) == pytest.approx(lower, rel=1e-4)


def test_bounds_at_the_scripts_batch_are_as_published():
    low, high = (math.log(1 + 50 * math.exp(sign)) for sign in (-1, 1))
    assert (round(low, 2), round(high, 2)) == (2.96, 4.92)
    for seed in range(5):
        value = float(asc_loss(_maps(26, seed), _maps(26, seed + 100)))
        assert low <= value < high


def _written_out(a, b, temperature):
    z = [m.ravel().astype(np.float64) for m in (*a, *b)]
    count = len(a)

    def s(x, y):
        return (2 * (x * y).sum() + 1e-6) / ((x * x).sum() + (y * y).sum() + 1e-6)

    losses = []
    for i in range(2 * count):
        plus = (i + count) % (2 * count)
        top = math.exp(s(z[i], z[plus]) / temperature)
        rest = sum(math.exp(s(z[i], z[k]) / temperature) for k in range(2 * count) if k not in (i, plus))
        losses.append(-math.log(top / (top + rest)))
    return np.mean(losses)


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_matches_the_formula_written_out(temperature):
    a, b = _maps(5, 1), _maps(5, 2)
    assert float(asc_loss(a, b, temperature=temperature)) == pytest.approx(_written_out(a, b, temperature), rel=1e-5)


def test_swapping_modalities_or_permuting_slices_changes_nothing():
    a, b, patients = _maps(6, 3), _maps(6, 4), np.array([0, 0, 1, 1, 2, 2], np.int32)
    order = np.random.default_rng(0).permutation(6)
    how = {"negatives": "other_patients", "empty": "skip"}
    value = float(asc_loss(a, b, patients, **how))
    assert float(asc_loss(b, a, patients, **how)) == pytest.approx(value, rel=1e-6)
    assert float(asc_loss(a[order], b[order], patients[order], **how)) == pytest.approx(value, rel=1e-6)


def test_similarities_are_related_as_defined():
    maps = _maps(4, 5)
    dice, iou, cosine = (np.asarray(similarity_matrix(maps, kind)) for kind in ("dice", "iou", "cosine"))
    np.testing.assert_allclose(iou, dice / (2 - dice), rtol=1e-6)
    flat = maps.reshape(4, -1)
    norms = np.linalg.norm(flat, axis=1)
    np.testing.assert_allclose(cosine, flat @ flat.T / np.outer(norms, norms), rtol=1e-4)
    np.testing.assert_allclose(np.diag(dice), 1.0, rtol=1e-5)


def test_only_other_patients_are_negatives():
    maps = np.repeat(_maps(1, 0), 4, axis=0)
    patients = np.array([7, 7, 7, 9], np.int32)
    # Identical maps: log(1 + number of negatives). Three slices have 2 negatives each, the fourth has 6.
    expected = (3 * math.log(3) + math.log(7)) / 4
    assert float(asc_loss(maps, maps, patients, negatives="other_patients")) == pytest.approx(expected, abs=1e-5)
    alone = np.full(4, 7, np.int32)
    assert float(asc_loss(maps, maps, alone, negatives="other_patients")) == pytest.approx(0.0, abs=1e-6)


def _gradient(a, b, **how):
    a, b = tf.Variable(a), tf.Variable(b)
    with tf.GradientTape() as tape:
        loss = asc_loss(a, b, **how)
    return [g.numpy() for g in tape.gradient(loss, [a, b])]


def test_empty_slices_with_low_probabilities_are_pushed_apart_unless_skipped():
    """Flat maps at 0.01: nearly identical by area similarity though nobody sees anything in them."""
    lesions = _disjoint(2)
    fog = np.full((2, 32, 8, 1), 0.01, np.float32)
    maps = np.concatenate([lesions, fog])
    assert np.asarray(similarity_matrix(maps))[2, 3] > 0.99
    kept = _gradient(maps, maps, empty="keep")[0]
    skipped = _gradient(maps, maps, empty="skip")[0]
    assert np.abs(kept[2:]).max() > np.abs(kept[:2]).max() > 0
    assert np.abs(skipped[2:]).max() == 0.0 and np.abs(skipped[:2]).max() > 0
    assert float(asc_loss(maps, maps, empty="skip")) == pytest.approx(float(asc_loss(lesions, lesions)), rel=1e-5)


def test_a_modality_without_foreground_learns_from_the_other():
    sees, blind = _disjoint(2), np.full((2, 32, 8, 1), 0.01, np.float32)
    gradient = _gradient(sees, blind, empty="skip")[1]
    # Raising the blind map where the other one sees lowers the loss.
    assert gradient[0, 0].mean() < 0 and gradient[1, 1].mean() < 0


def test_all_slices_empty_costs_nothing():
    fog = np.full((3, 8, 8, 1), 0.01, np.float32)
    assert float(asc_loss(fog, fog, empty="skip")) == 0.0


def test_stays_finite_at_low_temperature():
    maps = _disjoint(8)
    assert math.isfinite(float(asc_loss(maps, maps[::-1].copy(), temperature=0.01)))
