"""Pseudo-label health: foreground fractions, collapse alarms, and the remedies of each method."""

import numpy as np
import pytest
import tensorflow as tf

from semicml_tf.methods import pseudo_label_monitor
from tests.support import method_batches


def test_shares_are_counted_over_all_pixels():
    q = tf.constant(np.array([0.0, 0.5, 0.49, 1.0, 0.2, 0.1, 0.0, 0.0], np.float32).reshape(2, 2, 2, 1))
    label = tf.constant(np.array([1, 0, 0, 0], np.float32).reshape(1, 2, 2, 1))
    found = {name: float(value) for name, value in pseudo_label_monitor.shares(q, label).items()}
    assert found == {
        "label_foreground": 2 / 8,
        "label_mass": pytest.approx(2.29 / 8),
        "truth_foreground": 1 / 4,
    }


@pytest.mark.parametrize(
    "drawn, true, said",
    [
        (0.0, 0.0, "no foreground at all"),
        (0.0, 0.1, "no foreground at all"),
        (0.0049, 0.1, "less than 1/20"),
        (0.0051, 0.1, None),
        (0.5, 0.1, None),
        (0.51, 0.1, "full masks"),
    ],
)
def test_empty_and_full_labels_raise_the_alarm(drawn, true, said):
    lines = pseudo_label_monitor.alarms({"label_foreground": drawn, "label_mass": drawn, "truth_foreground": true})
    assert len(lines) == (said is not None)
    assert all(said in line and "--teacher_modality" in line for line in lines)


def test_observations_are_reported_and_change_no_step(monkeypatch):
    plain, watched = method_batches.method("prel"), method_batches.method("prel")
    monkeypatch.setattr(plain, "observations", lambda batch, maps, targets: {})
    batch = method_batches.batch(0)
    without, with_them = plain.train_step(batch), watched.train_step(batch)
    assert set(with_them) - set(without) >= {"label_foreground", "label_mass", "truth_foreground"}
    assert float(with_them["truth_foreground"]) == pytest.approx(36 / 256)
    terms = {name for name in without if name.startswith("loss_")}
    assert float(with_them["loss"]) == pytest.approx(sum(float(with_them[name]) for name in terms), rel=1e-5)
    for one, other in zip(plain.students["ct"].weights, watched.students["ct"].weights):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


@pytest.mark.parametrize(
    "method, knob",
    [
        ("supervised", "--learning_rate"),
        ("semi_cml", "--burn_in"),
        ("prel", "--prel_weight"),
        ("mean_teacher", "--unlabelled_weight"),
        ("cps", "--unlabelled_weight"),
        ("cct", "--unlabelled_weight"),
    ],
)
def test_alarms_name_the_methods_own_options(method, knob):
    made = method_batches.method(method)
    assert knob in made.silence_remedy
    if method not in ("semi_cml", "prel"):
        assert "asc" not in made.silence_remedy
