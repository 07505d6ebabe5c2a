"""Fused labels with fitted slopes and offsets: the plain sum, sets of modalities, classes, and their state."""

import dataclasses
import types

import numpy as np
import pytest
import scipy.special
import tensorflow as tf

from semicml_tf.errors import UserError
from semicml_tf.labels import PLAIN
from semicml_tf.methods.catalogue import MethodSettings
from semicml_tf.methods.fitted_fusion import FittedFusion
from semicml_tf.methods.soft_labels import confidence, soft_label
from semicml_tf.networks.spec import NetworkSpec
from tests.support import method_batches

ODDS, FITTED = MethodSettings(label_fusion="odds"), MethodSettings(label_fusion="fitted")
CUTS = {"ct": tf.constant([0.2, 0.4], tf.float64), "pet": tf.constant([0.3, 0.5], tf.float64)}
PRESENT = {"ct": tf.constant([1.0, 1.0, 0.0]), "pet": tf.constant([1.0, 0.0, 1.0])}


def _maps(seed: int = 0, classes: int = 2):
    whole = np.random.default_rng(seed).dirichlet(np.ones(classes + 1), size=(2, 3, 4, 4))[..., 1:]
    return {name: tf.constant(p, tf.float64) for name, p in zip(("ct", "pet"), whole)}


def _logit(p):
    return np.log(p) - np.log1p(-p)


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("present", [None, PRESENT])
def test_without_a_fit_the_label_is_that_of_the_plain_sum_to_the_last_bit(exclusive, present):
    fusion = FittedFusion(("ct", "pet"), 2, exclusive, 1.0)
    how = {"exclusive": exclusive, "present": present}
    plain = soft_label(_maps(), CUTS, ODDS, **how)
    np.testing.assert_array_equal(soft_label(_maps(), CUTS, FITTED, fusion=fusion, **how), plain)
    assert plain.dtype == tf.float64


def test_each_slice_has_the_numbers_of_its_set_of_modalities_and_each_region_its_own():
    fusion, maps = FittedFusion(("ct", "pet"), 2, False, 1.0), _maps()
    slopes, offsets = np.arange(16.0).reshape(4, 2, 2) / 8, np.arange(8.0).reshape(4, 2) - 4
    fusion.assign([*slopes.ravel(), *offsets.ravel()])
    q = soft_label(maps, CUTS, FITTED, present=PRESENT, fusion=fusion)
    ct, pet = (_logit(maps[name].numpy()) - _logit(CUTS[name].numpy()) for name in ("ct", "pet"))
    expected = [
        slopes[3, 0] * ct[0] + slopes[3, 1] * pet[0] + offsets[3],
        slopes[1, 0] * ct[1] + offsets[1],
        slopes[2, 1] * pet[2] + offsets[2],
    ]
    np.testing.assert_allclose(q, scipy.special.expit(expected), rtol=1e-9)
    # The label that one teacher writes alone, as a diagnosis asks for it.
    alone = soft_label({"ct": maps["ct"]}, CUTS, FITTED, fusion=fusion)
    np.testing.assert_allclose(alone[1], q[1], rtol=1e-12)


def test_exclusive_classes_share_slopes_and_the_background_has_no_offset():
    fusion, maps = FittedFusion(("ct", "pet"), 2, True, 1.0), _maps()
    fusion.assign([*np.repeat([0.5, 2.0], [6, 2]), *np.tile([1.0, -1.0], 4)])
    q = soft_label(maps, {}, FITTED, exclusive=True, fusion=fusion)
    whole = [np.concatenate([1 - p.numpy().sum(axis=-1, keepdims=True), p.numpy()], axis=-1) for p in maps.values()]
    expected = scipy.special.softmax(2.0 * np.log(whole[0]) + 2.0 * np.log(whole[1]) + [0.0, 1.0, -1.0], axis=-1)
    np.testing.assert_allclose(q, expected[..., 1:], rtol=1e-3)


def test_a_fit_reads_the_samples_once_and_zero_deviation_changes_nothing():
    maps = {name: np.moveaxis(p.numpy(), -1, 0) for name, p in _maps(classes=1).items()}
    label = (maps["ct"][0] > 0.4).astype(np.uint8)
    for deviation in (0.0, 1.0):
        fusion = FittedFusion(("ct", "pet"), 1, False, deviation)
        fusion.samples.add(types.SimpleNamespace(labels=PLAIN, label=label), maps)
        numbers = fusion.fit({"ct": 0.2, "pet": 0.3})
        assert (numbers == [1.0] * 8 + [0.0] * 4) == (deviation == 0.0)
        # Without samples all sets keep the prior; the set without modalities always does.
        assert fusion.fit({"ct": 0.2, "pet": 0.3}) == [1.0] * 8 + [0.0] * 4
        assert numbers[:2] == [1.0, 1.0] and numbers[8] == 0.0
    fusion.assign(numbers)
    columns = fusion.columns(("lesion",))
    assert list(columns) == ["slope_ct", "slope_pet", "offset"]
    np.testing.assert_allclose([*columns.values()], [*numbers[6:8], numbers[11]], rtol=1e-6)
    assert columns["slope_ct"] > columns["slope_pet"]  # the truth is CT's map, cut


def test_columns_name_the_classes_that_have_their_own_numbers():
    names = ("wt", "tc")
    regions, classes = (FittedFusion(("ct",), 2, exclusive, 1.0).columns(names) for exclusive in (False, True))
    assert list(regions) == ["slope_ct_wt", "slope_ct_tc", "offset_wt", "offset_tc"]
    assert list(classes) == ["slope_ct", "offset_wt", "offset_tc"]


def test_files_and_states_restore_the_numbers_and_others_are_refused(tmp_path):
    fusion, other = (FittedFusion(("ct", "pet"), 2, False, 1.0) for _ in range(2))
    fusion.assign(np.random.default_rng(0).uniform(size=24))
    fusion.save(tmp_path / "fusion.npz")
    other.load(tmp_path / "fusion.npz")
    assert other.state() == fusion.state()
    third = FittedFusion(("ct", "pet", "mr"), 2, False, 1.0)
    with pytest.raises(UserError, match="fusion.npz: expected a file of fitted slopes"):
        third.load(tmp_path / "fusion.npz")
    with pytest.raises(ValueError, match="finite"):
        third.restore({"slopes": np.full((8, 3, 2), np.nan).tolist(), "offsets": np.zeros((8, 2)).tolist()})


@pytest.mark.parametrize("classes, activation", [(1, "sigmoid"), (2, "sigmoid"), (3, "softmax")])
def test_a_step_with_fitted_fusion_equals_a_step_with_the_sum_until_a_fit(classes, activation):
    spec = NetworkSpec("unet", method_batches.WINDOW, method_batches.WIDTH, 1)
    spec = dataclasses.replace(spec, output_channels=classes, activation=activation)
    present = {"ct": [1, 1, 1, 0], "pet": [1, 0, 1, 1]}
    batch = method_batches.batch(0, classes=classes, ignored=True, present=present)
    plain, fitted = (method_batches.method("prel", spec=spec, label_fusion=how) for how in ("odds", "fitted"))
    assert plain.fusion is None and set(fitted.state()) == {"thresholds", "fusion"}
    np.testing.assert_array_equal(fitted.targets(batch)["q"], plain.targets(batch)["q"])
    step = tf.function(fitted.targets)
    before = step(batch)["q"].numpy()
    count = len(fitted.fusion.fit(fitted.thresholds))
    fitted.fusion.assign(np.linspace(0.5, 1.5, count))
    after = step(batch)["q"].numpy()
    assert np.abs(after - before).max() > 0.01, "the compiled step does not read the fit"
    later = method_batches.method("prel", spec=spec, label_fusion="fitted")
    later.restore_state(plain.state())  # of a stage without a fit
    later.restore_state(fitted.state())
    np.testing.assert_allclose(later.targets(batch)["q"], after, rtol=1e-5)
    terms = fitted.train_step(batch)
    assert all(np.isfinite(float(value)) for value in terms.values())


def test_confidence_is_the_distance_from_the_least_certain_label():
    regions = tf.constant([[0.5, 0.5], [1.0, 0.0], [0.75, 0.5]])
    np.testing.assert_allclose(confidence(regions), [[0.0], [1.0], [0.25]])
    classes = tf.constant([[1 / 3, 1 / 3], [0.0, 1.0], [0.0, 0.0], [0.0, 0.5]])
    np.testing.assert_allclose(confidence(classes, exclusive=True), [[0.0], [1.0], [1.0], [0.25]], atol=1e-6)


@pytest.mark.parametrize("present", [None, {"ct": [1, 1, 1, 0], "pet": [1, 0, 1, 1]}])
def test_pixels_without_a_certain_label_do_not_teach(present):
    method = method_batches.method("prel", label_weighting="confidence", asc_weight=0.0)
    batch = method_batches.batch(0, present=present)
    generator, size = np.random.default_rng(0), (4, 16, 16, 1)
    maps = {"ct": generator.uniform(size=size), "pet": generator.uniform(size=size)}
    q = np.where(np.arange(16)[:, np.newaxis, np.newaxis] < 8, generator.uniform(size=size), 0.5).astype(np.float32)

    def terms(changed):
        own = {name: tf.constant(p, tf.float32) for name, p in changed.items()}
        found = method.loss_terms(batch, {"labelled": own, "unlabelled": own}, {"q": tf.constant(q)})
        return [float(found[f"teach_{name}"]) for name in own]

    expected = terms(maps)
    other = {name: np.where(q == 0.5, 1.0 - p, p) for name, p in maps.items()}
    assert terms(other) == pytest.approx(expected, rel=1e-6)
    assert terms({name: 1.0 - p for name, p in maps.items()}) != pytest.approx(expected, rel=1e-3)
