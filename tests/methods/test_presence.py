"""Terms of patients without all modalities: those of the slices that have the modalities, in closed form."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from semicml_tf.losses.supervised import segmentation_loss
from semicml_tf.methods.presence import counted, pixels_of, slices_with, slices_with_any
from tests.support import method_batches

THREE = ("ct", "pet", "mr")
# Of the pairs, ct and pet have the slices 0 and 1, ct and mr the slices 0 and 2, pet and mr the slices 0 and 4.
PRESENT = {"ct": [1, 1, 1, 1, 0, 0], "pet": [1, 1, 0, 0, 1, 0], "mr": [1, 0, 1, 0, 1, 1]}
AT_ONCE = {"lr_warmup_epochs": 0.0, "burn_in": 0.0, "ramp": 0.0, "unlabelled_ramp": 0.0}


def _rows(*names):
    return np.flatnonzero(np.prod([PRESENT[name] for name in names], axis=0))


def _maps(seed: int, count: int = 6):
    size = (count, method_batches.WINDOW, method_batches.WINDOW, 1)
    rng = np.random.default_rng(seed)
    return {name: tf.constant(rng.uniform(0.01, 0.99, size=size)) for name in THREE}


def _part(tree, rows):
    """The complete batch of these slices."""
    return tf.nest.map_structure(lambda values: tf.gather(values, rows), tree)


@pytest.fixture(scope="module")
def batch():
    return method_batches.batch(0, 6, 6, "float64", modalities=THREE, present=PRESENT)


def _method(name, modalities=THREE, **settings):
    return method_batches.method(name, modalities=modalities, precision="float64", **AT_ONCE, **settings)


def test_slices_and_pixels_that_count():
    values = tf.constant([1.0, 2.0, 6.0], tf.float64)
    assert counted(values, None) is values
    np.testing.assert_allclose(np.mean(counted(values, tf.constant([1.0, 0.0, 1.0]))), 3.5)
    assert np.mean(counted(values, tf.zeros(3))) == 0.0
    present = {"ct": tf.constant([1.0, 1.0, 0.0]), "pet": tf.constant([1.0, 0.0, 0.0])}
    np.testing.assert_array_equal(slices_with(present, "ct", "pet"), [1, 0, 0])
    np.testing.assert_array_equal(slices_with_any(present, ["pet", "ct"]), [1, 1, 0])
    assert slices_with(None, "ct") is slices_with_any(None, ["ct"]) is pixels_of(None, values) is None
    valid = np.ones((3, 2, 2, 1)) * np.array([0, 1]).reshape(1, 1, 2, 1)
    pixels = pixels_of(present["ct"], tf.zeros((3, 2, 2, 4), tf.float64), valid)
    np.testing.assert_array_equal(np.sum(pixels, axis=(1, 2, 3)), [2, 2, 0])


def test_the_supervised_term_is_that_of_the_slices_with_the_modality(batch):
    method, maps = _method("supervised"), _maps(1)
    expected = sum(
        segmentation_loss(
            _part(p, _rows(name)),
            _part(batch["labelled"]["label"], _rows(name)),
            bce_weight=method.settings.bce_weight,
            dice_weight=method.settings.dice_weight,
        )
        for name, p in maps.items()
    )
    assert float(method.supervised_term(batch, {"labelled": maps})) == pytest.approx(float(expected), rel=1e-12)


def _terms_of_pairs(name, unlabelled, labelled, batch, targets, **settings):
    """The unlabelled terms of each pair of modalities, on its complete slices."""
    for one, other in itertools.combinations(THREE, 2):
        rows = _rows(one, other)
        part = dict(_part(batch, rows))
        for stream in part.values():
            stream.pop("present")
        maps = {"labelled": _part(labelled, rows), "unlabelled": _part(unlabelled, rows)}
        yield _method(name, (one, other), **settings).loss_terms(part, maps, _part(targets, rows))


CASES = {
    "semi_cml": ("semi_cml", {"mse_weight": 1.0}),
    "semi_cml_student": ("semi_cml", {"mse_weight": 1.0, "mse_target": "student", "asc_negatives": "all"}),
    "cross_modal_cps": ("cross_modal_cps", {}),
}


@pytest.mark.parametrize("name, settings", CASES.values(), ids=CASES)
def test_mutual_terms_are_those_of_the_slices_that_have_both(batch, name, settings):
    labelled, unlabelled, averages = _maps(1), _maps(2), _maps(3)
    terms = _method(name, **settings).loss_terms(batch, {"labelled": labelled, "unlabelled": unlabelled}, averages)
    pairs = list(_terms_of_pairs(name, unlabelled, labelled, batch, averages, **settings))
    assert set(terms) > {"supervised"}
    for key in set(terms) - {"supervised"}:
        expected = np.mean([float(of_pair[key]) for of_pair in pairs])
        assert expected > 0 and float(terms[key]) == pytest.approx(expected, rel=1e-12), key


@pytest.mark.parametrize("fusion", ["odds", "mean"])
def test_prel_labels_by_the_teachers_that_are_present_and_teaches_the_students_that_are(batch, fusion):
    method = _method("prel", label_fusion=fusion)
    q = method.targets(batch)["q"]
    for row in range(6):
        names = [name for name in THREE if PRESENT[name][row]]
        one = _part({"unlabelled": batch["unlabelled"]}, [row])
        one["unlabelled"].pop("present")
        labellers, method.labellers = method.labellers, {name: method.labellers[name] for name in names}
        np.testing.assert_allclose(_part(q, [row]), method.targets(one)["q"], rtol=1e-12)
        method.labellers = labellers
    maps = {"labelled": _maps(1), "unlabelled": _maps(2)}
    terms = method.loss_terms(batch, maps, {"q": q})
    for name in THREE:
        rows = _rows(name)
        part = _part(batch, rows)
        for stream in part.values():
            stream.pop("present")
        expected = method.loss_terms(part, _part(maps, rows), {"q": _part(q, rows)})[f"teach_{name}"]
        assert float(terms[f"teach_{name}"]) == pytest.approx(float(expected), rel=1e-12)


def test_prel_teaches_nothing_where_its_only_teacher_is_absent(batch):
    method = _method("prel", teachers="better", teacher_modality="ct")
    maps, q = {"labelled": _maps(1), "unlabelled": _maps(2)}, method.targets(batch)["q"]
    rows = _rows("ct")
    changed = {"q": tf.tensor_scatter_nd_update(q, [[4], [5]], 1.0 - _part(q, [4, 5]))}
    for key, value in method.loss_terms(batch, maps, {"q": q}).items():
        assert float(value) == float(method.loss_terms(batch, maps, changed)[key]), key
    shares = method.observations(batch, maps, {"q": q})
    assert float(shares["label_mass"]) == pytest.approx(np.mean(_part(q, rows)), rel=1e-6)
