"""The stages of Semi-CML and PReL: losses, teachers and schedules."""

import numpy as np
import pytest
import tensorflow as tf

from semicml_tf.errors import UserError
from semicml_tf.losses.asc import asc_loss
from semicml_tf.losses.supervised import segmentation_loss
from semicml_tf.methods import ramps
from semicml_tf.methods.catalogue import MethodSettings
from semicml_tf.methods.pool_teacher import PoolTeachers
from semicml_tf.methods.schedule import LearningRate, StagePlan
from semicml_tf.methods.soft_labels import SoftLabeller, soft_label
from semicml_tf.runs.recipes import PAPER
from tests.support import method_batches


def _maps(value_by_modality):
    size = (4, method_batches.WINDOW, method_batches.WINDOW, 1)
    rng = np.random.default_rng(0)
    return {m: tf.constant(v * rng.uniform(0.2, 1.0, size).astype(np.float32)) for m, v in value_by_modality.items()}


def test_prel_minimises_the_published_loss():
    method = method_batches.method(
        "prel", prel_keep_labelled=False, prel_strong_from=0.8, prel_weight=1.0, asc_negatives="all", asc_empty="keep"
    )
    batch, maps = method_batches.batch(0), {"unlabelled": _maps({"ct": 0.4, "pet": 0.9})}
    q = tf.constant(np.random.default_rng(1).uniform(size=(4, 16, 16, 1)).astype(np.float32))
    terms = method.loss_terms(batch, maps, {"q": q})
    assert set(terms) == {"teach_ct", "teach_pet"}
    p = maps["unlabelled"]["ct"]
    expected = 0.01 * asc_loss(q, p) + 0.99 * segmentation_loss(p, q, bce_weight=10, dice_weight=7)
    assert float(terms["teach_ct"]) == pytest.approx(float(expected), rel=1e-5)
    assert float(terms["teach_pet"]) == 0.0  # PET teaches: it learns from the labels later.


def test_the_stronger_modality_learns_after_a_fraction_of_the_stage():
    method = method_batches.method("prel", steps=10, prel_strong_from=0.8)
    batch, maps = method_batches.batch(0), {s: _maps({"ct": 0.4, "pet": 0.9}) for s in ("labelled", "unlabelled")}
    q = tf.constant(np.full((4, 16, 16, 1), 0.7, np.float32))
    seen = []
    for done in (0, 7, 8, 9):
        method.student_optimizers["ct"].iterations.assign(done)
        seen.append(float(method.loss_terms(batch, maps, {"q": q})["teach_pet"]) > 0)
    assert seen == [False, False, True, True]


@pytest.mark.parametrize("scores, teacher", [({"ct": 0.4, "pet": 0.6}, "pet"), ({"ct": 0.7, "pet": 0.6}, "ct")])
def test_the_best_modality_on_validation_is_the_strong_teacher(scores, teacher):
    assert method_batches.method("prel", scores=scores).teacher_modality == teacher
    assert method_batches.method("prel", scores=scores, teacher_modality="ct").teacher_modality == "ct"


def test_students_alone_see_distorted_slices():
    plain, method = method_batches.method("prel"), method_batches.method("prel", student_view=1.0)
    batch = method_batches.batch(0)
    np.testing.assert_array_equal(method.targets(batch)["q"], plain.targets(batch)["q"])
    views = method.views(batch)
    assert views["labelled"] is batch["labelled"]
    of_ct, of_pet = (views["unlabelled"]["image"][name] - batch["unlabelled"]["image"][name] for name in ("ct", "pet"))
    assert np.abs(of_ct).max() > 0.1 and np.abs(of_ct - of_pet).max() > 0.1  # drawn for each modality
    again = method.views(batch)["unlabelled"]["image"]["ct"]
    np.testing.assert_array_equal(again, views["unlabelled"]["image"]["ct"])


def test_an_unknown_modality_as_teacher_is_refused():
    with pytest.raises(UserError, match="t2"):
        method_batches.method("prel", teacher_modality="t2")


def test_no_gradient_reaches_the_teachers_and_labels_may_be_hard():
    method = method_batches.method("prel")
    batch = method_batches.batch(0)
    for teacher in method.averages.values():
        teacher.trainable = True
    with tf.GradientTape(persistent=True) as tape:
        q = method.targets(batch)["q"]
    for teacher in method.averages.values():
        assert all(g is None for g in tape.gradient(q, teacher.trainable_variables))
    assert 0 < float(tf.reduce_min(q)) and len(np.unique(q)) > 2
    hard = method_batches.method("prel", pseudo_labels="hard").targets(batch)["q"]
    np.testing.assert_array_equal(hard, np.asarray(q) >= 0.5)


def test_a_teachers_map_is_the_mean_of_passes_and_frozen_statistics_stay():
    method = method_batches.method("prel", teacher_passes=3, teacher_dropout=True)
    images, seeds = method_batches.batch(0)["unlabelled"]["image"]["pet"], tf.range(4)
    before = [w.numpy().copy() for w in method.averages["pet"].weights]
    labeller = method.labellers["pet"]
    q = labeller(images, seeds)
    single = [labeller.teacher(images, seeds, k) for k in range(3)]
    np.testing.assert_allclose(q, sum(s.numpy() for s in single) / 3, atol=1e-6)
    assert np.abs(single[0] - single[1]).max() > 1e-4
    assert all((a == b.numpy()).all() for a, b in zip(before, method.averages["pet"].weights))


def _odds(p):
    return p / (1 - p)


def test_evidence_of_both_teachers_adds_up_relative_to_their_thresholds():
    rng = np.random.default_rng(3)
    maps = {name: tf.constant(rng.uniform(0.01, 0.99, (2, 4, 4, 1)), tf.float32) for name in ("ct", "pet")}
    thresholds = {"ct": 0.1, "pet": 0.4}
    q = soft_label(maps, thresholds, MethodSettings(teachers="both", label_fusion="odds", label_sharpness=1.0))
    ct, pet = (maps[name].numpy() for name in ("ct", "pet"))
    together = _odds(ct) / _odds(0.1) * _odds(pet) / _odds(0.4)  # Odds of independent evidence multiply.
    np.testing.assert_allclose(q, together / (1 + together), rtol=1e-4)
    # Two maps that stand at their thresholds leave it open; sharpness is a power of the odds.
    level = {name: tf.fill((1, 2, 2, 1), value) for name, value in thresholds.items()}
    np.testing.assert_allclose(soft_label(level, thresholds, MethodSettings(label_fusion="odds")), 0.5, atol=1e-5)
    sharp = soft_label(maps, thresholds, MethodSettings(label_fusion="odds", label_sharpness=2.0))
    np.testing.assert_allclose(sharp, together**2 / (1 + together**2), rtol=1e-3, atol=1e-6)


def test_equally_confident_opposite_teachers_cancel_out():
    maps = {"ct": tf.zeros((1, 2, 2, 1)), "pet": tf.ones((1, 2, 2, 1))}
    q = soft_label(maps, {"ct": 0.5, "pet": 0.5}, MethodSettings(label_fusion="odds"))
    np.testing.assert_allclose(q, 0.5, atol=1e-3)
    np.testing.assert_allclose(soft_label(maps, {}, MethodSettings(label_fusion="mean")), 0.5)


def test_pseudo_labels_use_the_last_validations_threshold_and_pass_it_to_the_next_stage():
    method, batch = method_batches.method("prel"), method_batches.batch(0)
    before = method.targets(batch)["q"]
    method.on_validated(0, {"ct": 0.5, "pet": 0.5}, {"ct": 0.1, "pet": 0.3})
    after = method.targets(batch)["q"]
    assert (np.asarray(after) > np.asarray(before)).all()
    later = method_batches.method("prel")
    later.restore_state(method.state())
    np.testing.assert_array_equal(later.targets(batch)["q"], after)


def test_the_papers_input_noise_is_one_sided_as_in_its_script():
    seen = []

    def teacher(x, training):
        seen.append(x)
        return x

    settings = MethodSettings(teacher_noise=0.1, teacher_noise_low=0.0, teacher_noise_high=0.2)
    SoftLabeller(teacher, settings)(tf.zeros((64, 16, 16, 1)), tf.range(64))
    noise = seen[0].numpy()
    assert noise.min() == 0.0 and noise.max() <= 0.2 + 1e-6
    # E[clip(0.1 N, 0, 0.2)] = 0.1 (phi(0) - phi(2)) + 0.2 (1 - Phi(2)) = 0.0390
    assert noise.mean() == pytest.approx(0.0390, abs=0.001)


def test_the_pool_teacher_follows_the_papers_script():
    settings = MethodSettings(pool_first_epoch=2, pool_copy_epoch=3, pool_size=2)
    make = method_batches.method("supervised").students
    pool = PoolTeachers(("ct",), lambda name: method_batches.method("supervised").students[name], settings)
    student = {"ct": make["ct"]}
    for weight in student["ct"].weights:
        weight.assign(tf.ones_like(weight))
    pool.on_validated(1, {"ct": 0.9}, student)
    assert pool.scores["ct"] == [] and not pool.copied
    pool.on_validated(2, {"ct": 0.4}, student)
    pool.on_validated(3, {"ct": 0.5}, student)
    assert pool.copied and all((w.numpy() == 1).all() for w in pool.teachers["ct"].weights)
    for weight in student["ct"].weights:
        weight.assign(tf.zeros_like(weight))
    pool.on_validated(4, {"ct": 0.3}, student)  # Worse than the pool: nothing moves.
    assert all((w.numpy() == 1).all() for w in pool.teachers["ct"].weights)
    pool.on_validated(5, {"ct": 0.8}, student)  # Replaces 0.4: alpha = 1 - (0.8 - 0.4) / 0.8 = 0.5.
    assert sorted(pool.scores["ct"]) == [0.5, 0.8]
    for weight in pool.teachers["ct"].trainable_variables:
        np.testing.assert_allclose(weight.numpy(), 0.5)
    for weight in pool.teachers["ct"].non_trainable_variables:  # Parameters only.
        assert (weight.numpy() == 1).all()


def test_the_ema_follows_the_students_with_a_warmed_up_decay():
    method = method_batches.method("supervised", ema_decay=0.9)
    start = {m: a.get_weights() for m, a in method.averages.items()}
    method.train_step(method_batches.batch(0, 4, 0))
    after = method.students["ct"].get_weights()
    # After one step the decay is min(1 - 1 / 2, 0.9).
    for a, s, w in zip(method.averages["ct"].get_weights(), after, start["ct"]):
        np.testing.assert_allclose(a, 0.5 * w + 0.5 * s, rtol=1e-5, atol=1e-6)


def test_cross_modal_terms_start_after_the_burn_in():
    weight = [float(ramps.after_burn_in(u, 0.4, 0.3)) for u in (0.0, 0.39, 0.4, 0.55, 0.7, 1.0)]
    expected = [0.0, 0.0, np.exp(-5), np.exp(-1.25), 1.0, 1.0]
    np.testing.assert_allclose(weight, expected, rtol=1e-4)


def test_a_term_of_weight_zero_is_not_computed():
    batch, maps = method_batches.batch(0), {s: _maps({"ct": 0.4, "pet": 0.9}) for s in ("labelled", "unlabelled")}
    both = {"asc_weight": 1.0, "mse_weight": 1.0}
    for off, left in (("asc_weight", "mse"), ("mse_weight", "asc")):
        terms = method_batches.method("semi_cml", mse_target="student", **both | {off: 0.0}).loss_terms(batch, maps, {})
        assert set(terms) == {"supervised", left}


def test_the_papers_learning_rate_drops_over_the_run():
    settings = MethodSettings(**{k: v for k, v in PAPER.items() if k in MethodSettings.__dataclass_fields__})
    first = LearningRate(settings, StagePlan(steps=510, first_step=0, steps_per_epoch=10))
    rates = [float(first(step)) for step in (0, 39, 79, 119, 120, 280, 440)]
    np.testing.assert_allclose(rates, [0.006 / 80, 0.003, 0.006, 0.006, 6e-4, 6e-5, 6e-6], rtol=1e-4)
    second = LearningRate(settings, StagePlan(steps=300, first_step=510, steps_per_epoch=10))
    np.testing.assert_allclose([float(second(0)), float(second(50))], [6e-6, 6e-7], rtol=1e-4)


def test_the_cosine_schedule_spans_the_run_or_each_stage():
    def rate(step, first_step, steps, **settings):
        plan = StagePlan(steps, first_step, steps_per_epoch=10, rate_factor=0.5 if first_step else 1.0, run_steps=110)
        return float(LearningRate(MethodSettings(learning_rate=0.008, **settings), plan)(step))

    # Warm-up over the first epoch of each stage; half way through the other 100 steps the rate is half.
    np.testing.assert_allclose([rate(0, 0, 60), rate(10, 0, 60)], [0.0008, 0.008], rtol=1e-5)
    np.testing.assert_allclose([rate(0, 60, 50), rate(25, 60, 50)], [0.0004, 0.001171573], rtol=1e-4)
    assert rate(50, 60, 50) == pytest.approx(0.0, abs=1e-9)
    again = {"lr_schedule": "restarts"}
    assert rate(60, 0, 60, **again) == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_allclose([rate(10, 60, 50, **again), rate(30, 60, 50, **again)], [0.004, 0.002], rtol=1e-5)
