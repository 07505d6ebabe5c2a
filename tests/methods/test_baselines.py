"""The semi-supervised baselines: the term that each adds to `supervised`, and its gradients."""

import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf

from semicml_tf.losses.supervised import segmentation_loss
from semicml_tf.methods import views
from semicml_tf.methods.noisy_teacher import NoisyTeacher
from semicml_tf.methods.views import strong_view
from semicml_tf.networks.auxiliary_outputs import PERTURBATIONS
from tests.support import method_batches

BASELINES = method_batches.BASELINES
SIZE = (4, method_batches.WINDOW, method_batches.WINDOW, 1)
AT_ONCE = {"lr_warmup_epochs": 0.0, "unlabelled_ramp": 0.0}
SCALES_FROM = 3  # levels from which URPC has a coarser scale


@pytest.fixture(scope="module")
def made():
    """Methods by name with weight 1 at once, each built once; nobody trains them."""
    held = {}

    def get(name):
        if name not in held:
            # URPC's three coarser scales need the depth.
            levels = 5 if name == "urpc" else method_batches.LEVELS
            held[name] = method_batches.method(name, levels=levels, unlabelled_weight=1.0, **AT_ONCE)
        return held[name]

    return get


# What is the same for all of them.


@functools.cache
def _supervised_step(levels):
    """Networks of `supervised` after a step on the labelled stream alone."""
    method = method_batches.method("supervised", levels=levels, **AT_ONCE)
    method.train_step({"labelled": method_batches.batch(0)["labelled"]})
    return method_batches.weights(method), [v.numpy() for v in method.students["ct"].trainable_variables]


@pytest.mark.parametrize("name", BASELINES)
def test_without_its_term_a_baseline_is_the_supervised_method_to_the_last_bit(name):
    levels = SCALES_FROM if name == "urpc" else method_batches.LEVELS
    method = method_batches.method(name, levels=levels, unlabelled_weight=0.0, auxiliary_supervised=0.0, **AT_ONCE)
    start, (expected, expected_trained) = method_batches.weights(method), _supervised_step(levels)
    method.train_step(method_batches.batch(0))
    after = method_batches.weights(method)
    for key, weights in expected.items():
        for a, b in zip(after[key], weights, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=key)

    # The same with a weight too small to count, so that all of the method's code runs.
    method.settings = dataclasses.replace(method.settings, unlabelled_weight=1e-30, batch_statistics="each")
    for key, network in method.networks().items():
        network.set_weights(start[key])
    for optimizer in method.student_optimizers.values():
        for variable in optimizer.variables:
            variable.assign(tf.zeros(variable.shape, variable.dtype))
    terms = method.train_step(method_batches.batch(0))
    assert 0 < float(terms["loss_unlabelled"]) < 1e-28
    for variable, weight in zip(method.students["ct"].trainable_variables, expected_trained, strict=True):
        np.testing.assert_array_equal(variable.numpy(), weight, err_msg=variable.path)


def test_the_unlabelled_weight_ramps_up():
    method = method_batches.method("entropy_minimisation", steps=10, unlabelled_ramp=0.4)
    maps = {view: {name: _flat(0.5) for name in method.modalities} for view in ("labelled", "unlabelled")}
    seen = []
    for done in (0, 2, 4, 9):
        method.student_optimizers["ct"].iterations.assign(done)
        seen.append(float(method.loss_terms(method_batches.batch(0), maps, {})["unlabelled"]))
    # Full entropy in both modalities, weight 0.1.
    np.testing.assert_allclose(seen, [0.2 * np.exp(-5), 0.2 * np.exp(-1.25), 0.2, 0.2], rtol=1e-5)


@pytest.mark.parametrize("name, kinds", [("cps", {"second"}), ("cct", set(PERTURBATIONS)), ("urpc", {"scales"})])
def test_checkpoints_include_the_auxiliary_networks(name, kinds, made):
    method = made(name)
    assert set(method.networks()) == {
        f"{kind}/{m}" for kind in {"student", "average", *kinds} for m in method.modalities
    }
    learns = sum(len(network.trainable_variables) for key, network in method.networks().items() if key.endswith("ct"))
    slots = [v for v in method.student_optimizers["ct"].variables if v.shape.rank]
    assert len(slots) == 2 * learns  # Adam's two moments of each


def test_start_from_copies_the_students_and_keeps_new_auxiliary_networks():
    method, other = method_batches.method("cps"), method_batches.method("supervised")
    for student in other.students.values():
        for weight in student.weights:
            weight.assign(tf.ones_like(weight))
    before = method_batches.weights(method)
    method.start_from(other.students.__getitem__, {"ct": 0.2, "pet": 0.4})
    assert method.state()["thresholds"] == pytest.approx({"ct": 0.2, "pet": 0.4})
    for key, weights in method_batches.weights(method).items():
        same = [(a == b).all() for a, b in zip(weights, before[key])]
        assert all(same) if key.startswith("second") else all((a == 1).all() for a in weights), key


# Each one's term. Its losses' closed forms are tests of the losses.


def _flat(value):
    return tf.Variable(np.full(SIZE, value, np.float32))


def _term(method, maps, targets=None):
    """The unlabelled term on views' maps, and its gradient by map, summed over the pixels of the batch."""
    with tf.GradientTape() as tape:
        value = tf.reduce_mean(method.unlabelled_term(maps, targets or {}, method_batches.batch(0)["unlabelled"]))
    gradients = tape.gradient(value, maps)
    return float(value), {
        view: {key: None if g is None else float(tf.reduce_sum(g)) for key, g in held.items()}
        for view, held in gradients.items()
    }


def test_mean_teacher_minimises_the_distance_to_its_own_ema(made):
    maps = {"unlabelled": {"ct": _flat(0.5), "pet": _flat(0.2)}}
    value, gradients = _term(made("mean_teacher"), maps, {"ct": _flat(0.9), "pet": _flat(0.3)})
    assert value == pytest.approx(0.16 + 0.01, rel=1e-5)
    assert gradients["unlabelled"] == {"ct": pytest.approx(-0.8, rel=1e-4), "pet": pytest.approx(-0.2, rel=1e-4)}


def test_each_ema_teacher_sees_its_own_noise_of_both_signs():
    def teacher(x, training):
        assert not training
        return x

    method = method_batches.method("mean_teacher", input_noise=0.1)
    method.teachers = {name: method.noisy(teacher) for name in method.modalities}
    assert isinstance(method.teachers["ct"], NoisyTeacher)
    batch = method_batches.batch(0, unlabelled=16)["unlabelled"]
    noise = {name: (q - batch["image"][name]).numpy() for name, q in method.targets({"unlabelled": batch}).items()}
    for drawn in noise.values():
        assert np.abs(drawn).max() == pytest.approx(0.2, abs=1e-6)
        # Var of N(0, 1) clipped at 2 is 0.9205.
        assert abs(drawn.mean()) < 0.005 and drawn.var() == pytest.approx(0.009205, rel=0.05)
    assert abs(np.corrcoef(noise["ct"].ravel(), noise["pet"].ravel())[0, 1]) < 0.05


def test_ua_mt_admits_more_uncertain_pixels_as_the_weight_grows():
    method = method_batches.method("ua_mt", steps=10, unlabelled_ramp=0.4)
    maps = {"unlabelled": {"ct": _flat(0.5), "pet": _flat(0.5)}}
    seen = []
    for done, doubt in ((0, 0.751), (0, 0.753), (4, 0.999), (4, 1.0)):
        method.student_optimizers["ct"].iterations.assign(done)
        targets = {"ct": _flat(0.9), "ct/uncertainty": _flat(doubt), "pet": _flat(0.9), "pet/uncertainty": _flat(1.0)}
        seen.append(_term(method, maps, targets)[0])
    # The limit is 0.75 + 0.25 exp(-5) = 0.7517 at first, 1 in the end; PET is never certain.
    np.testing.assert_allclose(seen, [0.16, 0.0, 0.16, 0.0], rtol=1e-5)


def test_ua_mt_is_uncertain_where_its_passes_differ(made):
    method = made("ua_mt")
    unlabelled = method_batches.batch(0)["unlabelled"]
    targets = method.unlabelled_targets(unlabelled)
    doubt = targets["ct/uncertainty"].numpy()
    assert doubt.shape == SIZE and 0 <= doubt.min() and doubt.max() <= 1 + 1e-6
    one = {"unlabelled": tf.nest.map_structure(lambda x: x[1:2], unlabelled)}
    np.testing.assert_allclose(method.targets(one)["ct/uncertainty"].numpy(), doubt[1:2], atol=1e-5)


def test_ict_compares_the_map_of_a_mixed_image_with_the_mixed_maps(made, monkeypatch):
    method = made("ict")
    monkeypatch.setattr(method, "_share", lambda batch: tf.constant([0.25, 0.25, 0.0, 1.0]))
    batch = method_batches.batch(0)
    x, seen = batch["unlabelled"]["image"]["ct"], method.views(batch)
    assert set(seen) == {"labelled", "mixed"}
    expected = [0.75 * x[0] + 0.25 * x[2], 0.75 * x[1] + 0.25 * x[3], x[2], x[1]]
    np.testing.assert_allclose(seen["mixed"]["image"]["ct"], expected, rtol=1e-6)
    q = np.random.default_rng(0).uniform(size=SIZE).astype(np.float32)
    mixed = np.stack([0.75 * q[0] + 0.25 * q[2], 0.75 * q[1] + 0.25 * q[3], q[2], q[1]])
    maps = {"mixed": {"ct": tf.Variable(mixed), "pet": tf.Variable(mixed + 0.1)}}
    value, gradients = _term(method, maps, {"ct": q, "pet": q})
    assert value == pytest.approx(0.01, rel=1e-4)
    assert gradients["mixed"]["ct"] == pytest.approx(0, abs=1e-4) and gradients["mixed"]["pet"] > 0
    np.testing.assert_allclose(views.mixed(q, np.zeros(4, np.float32)), q)


def test_cps_pairs_two_different_networks_of_one_modality(made):
    method = made("cps")
    first, second = (
        method.students["ct"].get_weights(),
        method.companions["second"]["ct"].get_weights(),
    )
    assert not all((a == b).all() for a, b in zip(first, second))
    maps = {"ct": _flat(0.4), "ct/second": _flat(0.9), "pet": _flat(0.2), "pet/second": _flat(0.2)}
    value, gradients = _term(method, {"unlabelled": maps})
    # CT: BCE(0.4, 1) + BCE(0.9, 0); PET: both are sure to see nothing, and are told so.
    assert value == pytest.approx(-np.log(0.4) - np.log(0.1) - 2 * np.log(0.8), rel=1e-5)
    signs = {key: np.sign(g) for key, g in gradients["unlabelled"].items()}
    assert signs == {"ct": -1, "ct/second": 1, "pet": 1, "pet/second": 1}


def test_cross_modal_cps_pairs_the_modalities(made):
    value, gradients = _term(made("cross_modal_cps"), {"unlabelled": {"ct": _flat(0.4), "pet": _flat(0.9)}})
    assert value == pytest.approx(-np.log(0.4) - np.log(0.1), rel=1e-5)
    assert gradients["unlabelled"]["ct"] == pytest.approx(-1 / 0.4, rel=1e-4)
    assert gradients["unlabelled"]["pet"] == pytest.approx(1 / 0.1, rel=1e-4)


def test_cct_trains_the_auxiliary_maps_and_not_the_main_map(made):
    maps = {"ct": _flat(0.5), "pet": _flat(0.5)}
    for kind, p in (("noise", 0.6), ("dropout", 0.7), ("feature_drop", 0.5)):
        maps |= {f"ct/{kind}/0": _flat(p), f"pet/{kind}/0": _flat(0.5)}
    value, gradients = _term(made("cct"), {"unlabelled": maps})
    assert value == pytest.approx((0.01 + 0.04) / 3, rel=1e-4)
    gradients = gradients["unlabelled"]
    assert gradients["ct"] is None and gradients["pet"] is None
    assert (
        gradients["ct/dropout/0"] == pytest.approx(2 * gradients["ct/noise/0"], rel=1e-3)
        and gradients["ct/noise/0"] > 0
    )


@pytest.mark.parametrize("name, outputs", [("cct", 4), ("urpc", 4)])
def test_auxiliary_outputs_learn_from_labels_unless_switched_off(name, outputs, made, monkeypatch):
    method = made(name)
    batch = method_batches.batch(0)
    with tf.GradientTape() as tape:
        maps = method._maps(method.views(batch))
        loss = method.supervised_term(batch, maps)
    main, others = method.main_and_others(maps["labelled"], "ct")
    gradients = tape.gradient(loss, [main, *others])
    assert len(gradients) == outputs and all(float(tf.reduce_max(tf.abs(g))) > 0 for g in gradients)
    labels = batch["labelled"]["label"]
    # The auxiliary outputs are all wrong, the main ones right: 3 of 4 outputs are charged, or none of 1.
    flat = {"labelled": {key: labels if key in method.modalities else 1.0 - labels for key in maps["labelled"]}}
    wrong = segmentation_loss(1.0 - labels, labels, bce_weight=10.0, dice_weight=7.0)
    assert float(method.supervised_term(batch, flat)) == pytest.approx(2 * 0.75 * float(wrong), rel=1e-3)
    monkeypatch.setattr(method, "settings", dataclasses.replace(method.settings, auxiliary_supervised=0.0))
    assert float(method.supervised_term(batch, flat)) == pytest.approx(0.0, abs=1e-3)


def test_urpc_is_zero_where_its_four_scales_agree(made):
    method = made("urpc")
    p = tf.Variable(np.random.default_rng(0).uniform(0.1, 0.9, SIZE).astype(np.float32))
    scales = [f"scales/{number}" for number in range(3)]
    maps = {name: p for name in method.modalities} | {f"{m}/{s}": p for m in method.modalities for s in scales}
    assert _term(method, {"unlabelled": maps})[0] == pytest.approx(0.0, abs=1e-6)
    maps["ct/scales/1"] = tf.Variable(p + 0.05)
    value, gradients = _term(method, {"unlabelled": maps})
    assert value > 1e-4 and gradients["unlabelled"]["ct/scales/1"] > 0


def test_entropy_minimisation_sharpens_predictions(made):
    value, gradients = _term(made("entropy_minimisation"), {"unlabelled": {"ct": _flat(0.5), "pet": _flat(0.3)}})
    assert value == pytest.approx(1.0 + 0.8812909, rel=1e-5)
    assert gradients["unlabelled"]["ct"] == pytest.approx(0.0, abs=1e-4) and gradients["unlabelled"]["pet"] > 0


def test_fixmatch_teaches_confident_labels_of_the_weak_view_to_the_strong_view(made):
    weak = {"ct": _flat(0.79), "pet": _flat(0.81)}
    value, gradients = _term(made("fixmatch"), {"unlabelled": weak, "strong": {"ct": _flat(0.3), "pet": _flat(0.3)}})
    assert value == pytest.approx(-np.log(0.3), rel=1e-5)
    assert gradients["unlabelled"] == {"ct": None, "pet": None}
    assert gradients["strong"] == {"ct": 0.0, "pet": pytest.approx(-1 / 0.3, rel=1e-4)}


def test_the_strong_view_distorts_intensities_by_the_samples_seed_alone():
    x = np.random.default_rng(0).normal(size=(64, 16, 16, 1)).astype(np.float32)
    seeds = np.arange(64, dtype=np.int32)
    np.testing.assert_allclose(np.asarray(strong_view(x, seeds, 0.0)), x, atol=1e-6)
    strong = np.asarray(strong_view(x, seeds, 1.0))
    np.testing.assert_allclose(np.asarray(strong_view(x[5:6], seeds[5:6], 1.0)), strong[5:6], atol=1e-5)
    shift = strong.mean(axis=(1, 2, 3)) - x.mean(axis=(1, 2, 3))
    assert 0.6 < np.abs(shift).max() < 0.9 and abs(shift.mean()) < 0.2
    # What lies where stays: each slice still goes with its own original.
    own = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(x, strong)]
    assert min(own) > 0.2


def test_rotations_equal_numpys_and_are_inverted_exactly():
    x = np.random.default_rng(0).normal(size=SIZE).astype(np.float32)
    turns = np.array([1, 2, 3, 0], np.int32)
    turned = np.asarray(views.rotated(x, turns))
    np.testing.assert_array_equal(turned, [np.rot90(slice_, k) for slice_, k in zip(x, turns)])
    np.testing.assert_array_equal(np.asarray(views.rotated(turned, 4 - turns)), x)
    assert set(np.asarray(views.quarter_turns(np.arange(99, dtype=np.int32)))) == {1, 2, 3}


def test_deep_co_training_moves_both_views_equally(made):
    method, batch = made("deep_co_training"), method_batches.batch(0)
    turns = views.quarter_turns(batch["unlabelled"]["seed"])
    seen = method.views(batch)["rotated"]["image"]["ct"]
    np.testing.assert_array_equal(seen, views.rotated(batch["unlabelled"]["image"]["ct"], turns))
    p = np.random.default_rng(0).uniform(0.2, 0.8, SIZE).astype(np.float32)
    turned = tf.Variable(views.rotated(p, turns))
    maps = {
        "unlabelled": {"ct": tf.Variable(p), "pet": tf.Variable(p + 0.1)},
        "rotated": {"ct": turned, "pet": tf.Variable(turned)},
    }
    value, gradients = _term(method, maps)
    assert value == pytest.approx(0.01, rel=1e-4)
    assert gradients["unlabelled"]["ct"] == pytest.approx(0.0, abs=1e-4)
    assert gradients["unlabelled"]["pet"] == pytest.approx(0.1, rel=1e-3)
    assert gradients["rotated"]["pet"] == pytest.approx(-0.1, rel=1e-3)


def test_the_strong_view_of_fixmatch_does_not_update_moving_statistics():
    def moved(strength):
        made = method_batches.method("fixmatch", strong_view=strength, lr_warmup_epochs=0.0)
        before = [variable.numpy() for variable in made.students["ct"].non_trainable_variables]
        tf.function(made.train_step)(method_batches.batch(0))
        after = [variable.numpy() for variable in made.students["ct"].non_trainable_variables]
        assert max(np.abs(one - other).max() for one, other in zip(before, after)) > 1e-3
        return after

    for one, other in zip(moved(0.0), moved(2.0)):
        np.testing.assert_allclose(one, other, rtol=1e-6)
