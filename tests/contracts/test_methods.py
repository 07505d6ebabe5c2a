"""What every method of the catalogue satisfies, with every network that it accepts and several modalities."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from semicml_tf.methods import catalogue
from semicml_tf.methods.catalogue import MethodSettings
from semicml_tf.training import checkpoint
from tests.contracts.networks_under_test import ENTRIES, smallest
from tests.support import gated_network, method_batches

AT_ONCE = {"lr_warmup_epochs": 0.0, "unlabelled_ramp": 0.0, "burn_in": 0.0, "ramp": 0.0, "confidence": 0.5}
NAMES = ("ct", "pet", "mr")
# Three modalities with the first network, and with each other network as few as the method needs. Other tests of the
# methods take two.
EVERY_METHOD = ("unet", "unet3d", gated_network.NAME)
CASES = [
    (method, network, NAMES[: 3 if network == "unet" else entry.least_modalities])
    for method, entry in catalogue.METHODS.items()
    for network, known in ENTRIES.items()
    if not entry.lacking(known, MethodSettings())
    # What a method needs of a network, the other networks must have.
    and (network in EVERY_METHOD or entry.needs_features)
]


def _state(method) -> dict[str, list[np.ndarray]]:
    """All that a checkpoint must hold, by network and optimiser."""
    held = {name: network.weights for name, network in method.networks().items()}
    held |= {f"optimizer/{name}": optimizer.variables for name, optimizer in method.student_optimizers.items()}
    return {name: [np.array(variable) for variable in variables] for name, variables in held.items()}


def _forget(method) -> None:
    for part in (*method.networks().values(), *method.student_optimizers.values()):
        for variable in part.variables:
            variable.assign(np.zeros(variable.shape, variable.dtype))


@pytest.fixture
def read_knobs(monkeypatch):
    """The names of the knobs that are read in a test."""
    read, usual = set(), MethodSettings.__getattribute__

    def recorded(settings, name):
        read.add(name)
        return usual(settings, name)

    monkeypatch.setattr(MethodSettings, "__getattribute__", recorded)
    return read


@pytest.mark.parametrize("name, network, modalities", CASES)
def test_a_step_is_finite_moves_the_students_and_is_restored(name, network, modalities, read_knobs, tmp_path):
    spec = smallest(network, feature=catalogue.METHODS[name].needs_features)
    method = method_batches.method(name, modalities=modalities, spec=spec, **AT_ONCE)
    before = method_batches.weights(method)
    terms = method.train_step(method_batches.batch(0, modalities=modalities, spatial=spec.spatial))
    assert {f"gradient_norm_{modality}" for modality in modalities} <= set(terms)
    known = {field.name for field in dataclasses.fields(MethodSettings)}
    declared = (*catalogue.COMMON, *catalogue.METHODS[name].knobs)
    assert read_knobs & known <= {field.name for knobs in declared for field in dataclasses.fields(knobs)}
    assert terms["loss"] > 0 and all(np.isfinite(float(value)) for value in terms.values())
    if catalogue.METHODS[name].needs_unlabelled:
        others = [float(terms[key]) for key in terms if key.startswith("loss_") and key != "loss_supervised"]
        assert any(value != 0 for value in others), "the unlabelled slices have no effect"
    after, state = _state(method), method.state()
    for key in (key for key in before if key.startswith("student/")):
        assert max(np.abs(a - b).max() for a, b in zip(after[key], before[key])) > 1e-4, key
    checkpoint.save(tmp_path / "last.npz", method, {"run_hash": ""})
    _forget(method)
    checkpoint.restore(tmp_path / "last.npz", method)
    assert method.state() == state
    for key, arrays in _state(method).items():
        for restored, saved in zip(arrays, after[key], strict=True):
            np.testing.assert_array_equal(restored, saved, err_msg=key)


@pytest.mark.parametrize("classes, activation, ignored, channels", [(2, "sigmoid", False, 1), (3, "softmax", True, 3)])
@pytest.mark.parametrize("name", catalogue.METHODS)
def test_a_step_with_several_classes_or_slices_moves_every_class(name, classes, activation, ignored, channels):
    spec = dataclasses.replace(
        smallest("unet", feature=catalogue.METHODS[name].needs_features),
        output_channels=classes,
        activation=activation,
        input_channels=channels,
    )
    method = method_batches.method(name, spec=spec, **AT_ONCE)
    before = method_batches.weights(method)
    batch = method_batches.batch(0, classes=classes, ignored=ignored, channels=channels)
    terms = method.train_step(batch)
    assert terms["loss"] > 0 and all(np.isfinite(float(value)) for value in terms.values())
    for key, arrays in method_batches.weights(method).items():
        if key.startswith("student/"):
            # The bias of the last layer, a number per class.
            assert (np.abs(arrays[-1] - before[key][-1]) > 1e-4).all(), key
    cuts = {modality: [0.3] * classes for modality in method.modalities}
    method.on_validated(0, dict.fromkeys(method.modalities, 0.5), cuts)
    state = method.state()
    method.restore_state(state)
    assert method.state() == state and (state["thresholds"] == {}) == (activation == "softmax")


@pytest.mark.parametrize("name", catalogue.METHODS)
def test_slices_without_a_modality_do_not_count_in_its_terms(name):
    present = {"ct": [1, 1, 1, 0], "pet": [1, 0, 1, 1]}
    spec = smallest("unet", feature=catalogue.METHODS[name].needs_features)
    settings = {"mse_weight": 1.0} if name == "semi_cml" else {}
    method = method_batches.method(name, spec=spec, **settings, **AT_ONCE)
    batch = method_batches.batch(0, present=present)
    targets, maps = method.targets(batch), method._maps(method.views(batch))

    def altered(held):
        """Other values in the maps of absent images. The key of a map begins with its modality."""
        rows = {key: np.reshape(present.get(key.split("/")[0], [1] * 4), (-1, 1, 1, 1)) for key in held}
        return {key: tf.where(rows[key] > 0, value, 1.0 - value) for key, value in held.items()}

    others = {view: altered(of_view) for view, of_view in maps.items()}
    for scalars in (method.loss_terms, method.observations):
        expected = scalars(batch, maps, targets)
        for key, value in scalars(batch, others, altered(targets)).items():
            assert float(value) == pytest.approx(float(expected[key]), rel=1e-5, abs=1e-7), key
    before = method_batches.weights(method)
    assert all(np.isfinite(float(value)) for value in method.train_step(batch).values())
    for key, arrays in method_batches.weights(method).items():
        if key.startswith("student/"):
            assert max(np.abs(a - b).max() for a, b in zip(arrays, before[key])) > 1e-4, key
