"""Perturbed features, auxiliary decoders and scales, and numbers drawn by a sample's seed."""

import numpy as np
import pytest
from scipy import stats

from semicml_tf.networks import sample_noise
from semicml_tf.networks.auxiliary_outputs import (
    PERTURBATIONS,
    perturbed_decoder,
    scale_heads,
    with_outputs,
)
from semicml_tf.networks.perturbations import FeatureDrop, FeatureNoise
from tests.support.networks import unet

SEEDS = np.array([3, 4], np.int32)


def test_noise_scales_features_by_up_to_three_tenths():
    x = np.full((2, 32, 32, 4), 2.0, np.float32)
    factor = np.asarray(FeatureNoise(salt=7)([x, SEEDS])) / 2.0
    assert 0.7 <= factor.min() < 0.701 and 1.299 < factor.max() <= 1.3
    assert factor.mean() == pytest.approx(1.0, abs=0.01) and factor.std() == pytest.approx(0.6 / 12**0.5, abs=0.01)


def test_features_are_dropped_where_they_are_strongest():
    # Attention rises from 0 to 1: what reaches u in [0.7, 0.9) of the largest goes, all of its channels.
    ramp = np.linspace(0.0, 1.0, 1001, dtype=np.float32).reshape(1, 1, 1001, 1)
    x = np.repeat(np.concatenate([ramp * 0.5, ramp * 1.5], axis=-1), 400, axis=0)
    kept = np.asarray(FeatureDrop(salt=7)([x, np.arange(400, dtype=np.int32)]))
    share = (kept[..., 0] > 0).sum(axis=(1, 2)) / 1000
    assert ((kept > 0) == (kept[..., :1] > 0)).all()
    assert 0.69 < share.min() < 0.71 and 0.89 < share.max() < 0.91 and share.mean() == pytest.approx(0.8, abs=0.01)
    # What stays is unchanged, and it is what lies below.
    first = kept[0, 0]
    count = (first[:, 1] > 0).sum() + 1
    np.testing.assert_array_equal(first[:count], x[0, 0, :count])


@pytest.mark.parametrize("kind", PERTURBATIONS)
def test_a_perturbation_is_a_function_of_each_samples_seed(kind):
    layer = PERTURBATIONS[kind](2)
    x = np.random.default_rng(0).uniform(0.5, 1.0, (2, 8, 8, 3)).astype(np.float32)
    both, alone = np.asarray(layer([x, SEEDS])), np.asarray(layer([x[1:], SEEDS[1:]]))
    np.testing.assert_array_equal(both[1:], alone)
    assert (np.asarray(layer([x, SEEDS + 9])) != both).any() and layer.get_config()["salt"] % 100 == 2


def test_an_auxiliary_decoder_reads_the_students_features_with_weights_of_its_own():
    student, donor = unet(32, 2, name="ct", seed=1), unet(32, 2, name="ct_noise", seed=2)
    features = student.parts.encoder
    assert [x.shape[1] for x in features] == [32, 16, 8, 4, 2]
    decoder = perturbed_decoder("noise", donor, "decoder")
    names = {layer.name for layer in donor.layers if layer.name.startswith(("decoder", "probabilities"))}
    theirs = {id(w) for layer in donor.layers if layer.name in names for w in layer.weights}
    assert {id(w) for w in decoder.weights} == theirs
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 1)).astype(np.float32)
    maps = with_outputs(student, features, {"noise": decoder})([x, SEEDS])
    np.testing.assert_allclose(np.asarray(maps["main"]), np.asarray(student(x)), atol=1e-6)
    assert np.abs(np.asarray(maps["noise"]) - np.asarray(maps["main"])).max() > 1e-3


def test_three_coarser_scales_are_enlarged_to_the_window():
    student = unet(32, 2, name="ct")
    features = student.parts.decoder
    assert [tuple(x.shape[1:]) for x in features] == [(16, 16, 4), (8, 8, 8), (4, 4, 16)]
    heads = scale_heads(features, student.spec, seed=5, name="scales")
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 1)).astype(np.float32)
    for number, p in enumerate(with_outputs(student, features, {"scales": heads})([x, SEEDS])["scales"]):
        p, side = np.asarray(p), 2 ** (number + 1)
        assert p.shape == (2, 32, 32, 1) and 0 < p.min() and p.max() < 1
        tiles = p.reshape(2, 32 // side, side, 32 // side, side)
        assert (tiles == tiles[:, :, :1, :, :1]).all()
    other = scale_heads(features, student.spec, seed=6, name="scales")
    assert not any((a == b).all() for a, b in zip(heads.get_weights()[::2], other.get_weights()[::2]))


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_shares_of_a_mixture_follow_their_distribution(alpha):
    drawn = np.asarray(sample_noise.symmetric_beta(np.arange(4000, dtype=np.int32), alpha, salt=0))
    assert stats.kstest(drawn, stats.beta(alpha, alpha).cdf).pvalue > 0.01
    assert drawn.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), abs=0.01)


def test_a_seed_for_one_purpose_tells_nothing_of_another():
    seeds = np.arange(2000, dtype=np.int32)
    one, other = (np.asarray(sample_noise.seeds_for(purpose, seeds)) for purpose in ("teacher/ct", "teacher/pet"))
    assert one.dtype == np.int32 and len(set(one)) == len(set(other)) == 2000
    draws = [np.asarray(sample_noise.uniform(s, (), salt=0)) for s in (seeds, one, other)]
    assert np.abs(np.corrcoef(draws) - np.eye(3)).max() < 0.08
