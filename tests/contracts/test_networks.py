"""What every network of the catalogue keeps to. A new network is tested without a test of its own."""

import dataclasses
import json
import re

import keras
import numpy as np
import pytest

from semicml_tf.artefact.manifest import Manifest
from semicml_tf.errors import UserError
from semicml_tf.exporting.publish import publish
from semicml_tf.inference import exported_model
from semicml_tf.methods import catalogue as methods
from semicml_tf.methods.catalogue import MethodSettings
from semicml_tf.networks import catalogue, sample_noise
from semicml_tf.networks.spec import NetworkSpec
from semicml_tf.runs.run_folder import Run, weights_file
from semicml_tf.runs.settings import TrainSettings, contradictions
from semicml_tf.training.distributed.devices import strategy_for
from tests.contracts.networks_under_test import CASES, ENTRIES, smallest
from tests.support import method_batches, threshold_model

each_network = pytest.mark.parametrize("name, dimensions", CASES)
SEEDS = np.array([3, 4], np.int32)
WINDOW = method_batches.WINDOW


def _inputs(spec: NetworkSpec, count: int = 2) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, *spec.spatial, spec.input_channels)).astype(np.float32)


def _varied(network):
    """The network with random weights: where gates and biases begin alike, a mistake would not show."""
    rng = np.random.default_rng(1)
    # Kernels have both signs, or maps of many layers would saturate. Variances must stay positive.
    network.set_weights(
        [
            weight + rng.uniform(0.0 if weight.ndim == 1 else -0.15, 0.15, weight.shape)
            for weight in network.get_weights()
        ]
    )
    return network


@each_network
def test_maps_are_probabilities_of_each_slice_alone(name, dimensions):
    network = catalogue.build(smallest(name, dimensions), name="ct", seed=3)
    together = np.asarray(network(_inputs(network.spec, 3), training=False))
    assert together.shape == (3, *network.spec.spatial, 1) and together.dtype == np.float32
    assert (together > 0).all() and (together < 1).all()
    alone = np.concatenate([np.asarray(network(_inputs(network.spec, 3)[i : i + 1], training=False)) for i in range(3)])
    np.testing.assert_allclose(together, alone, atol=5e-5)
    assert network.name == "ct" and network.spec == smallest(name, dimensions)


@each_network
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_a_network_has_a_channel_per_class(name, dimensions, activation):
    spec = dataclasses.replace(smallest(name, dimensions), output_channels=3, activation=activation)
    maps = np.asarray(catalogue.build(spec, name="ct", seed=3)(_inputs(spec), training=False))
    assert maps.shape == (2, *spec.spatial, 3) and (maps > 0).all()
    # Exclusive classes leave something to the background; three regions of new weights exceed 1 somewhere.
    assert (maps.sum(axis=-1) < 1).all() == (activation == "softmax")


@each_network
def test_initial_weights_depend_on_the_seed_alone(name, dimensions):
    first, again, other = (
        catalogue.build(smallest(name, dimensions), name="ct", seed=s).get_weights() for s in (1, 1, 2)
    )
    assert all((a == b).all() for a, b in zip(first, again))
    assert not all((a == b).all() for a, b in zip(first, other))


@each_network
def test_declared_features_are_there_and_lead_to_the_map(name, dimensions):
    for feature in ENTRIES[name].features:
        network = _varied(catalogue.build(smallest(name, dimensions, feature), name="ct"))
        features = getattr(network.parts, feature)
        columns, width = [x.shape[-2] for x in features], network.spec.spatial[-1]
        assert columns == sorted(columns, reverse=True) and all(width % size == 0 for size in columns)
        if feature == "encoder":
            *values, expected = keras.Model(network.input, [*features, network.output])(_inputs(network.spec))
            np.testing.assert_allclose(network.decoder()(values), expected, atol=1e-6)
            # A network of other classes, with other initial weights, begins with this encoder.
            other = catalogue.build(dataclasses.replace(network.spec, output_channels=2), name="pet", seed=5)
            other.take_encoder(network)
            *taken, _ = keras.Model(other.input, [*other.parts.encoder, other.output])(_inputs(network.spec))
            for own, value in zip(taken, values, strict=True):
                np.testing.assert_allclose(own, value, atol=1e-6)
        else:
            assert columns[0] < width


@pytest.mark.parametrize("name, dimensions", [case for case in CASES if ENTRIES[case[0]].dropout])
def test_a_teacher_with_dropout_has_the_students_own_architecture(name, dimensions, monkeypatch):
    network = _varied(catalogue.build(smallest(name, dimensions), name="ct"))
    view = catalogue.with_dropout(network)
    assert [id(weight) for weight in view.weights] == [id(weight) for weight in network.weights]
    one, same, other = (
        np.asarray(view([_inputs(network.spec), np.array(s, np.int32)])) for s in ([1, 2], [1, 2], [1, 3])
    )
    np.testing.assert_array_equal(one, same)
    np.testing.assert_array_equal(one[0], other[0])
    assert np.abs(one[1] - other[1]).max() > 0
    # Without its dropout the teacher is the student: no layer is missing, and none is added.
    monkeypatch.setattr(sample_noise.SampleDropout, "call", lambda self, inputs: inputs[0])
    np.testing.assert_array_equal(view([_inputs(network.spec), SEEDS]), network(_inputs(network.spec), training=False))


@each_network
def test_two_replicas_take_the_step_of_one(name, dimensions):
    spec = smallest(name, dimensions)
    # What couples slices is the same for all networks.
    method_name, modalities = ("semi_cml", ("ct", "pet")) if name == "unet" else ("supervised", ("ct",))
    # TensorFlow has no 3-D max pooling in float64.
    precision, rtol, atol = ("float64", 1e-9, 1e-12) if dimensions == 2 else ("float32", 1e-3, 1e-5)
    how = {"optimizer": "sgd", "learning_rate": 0.05, "lr_warmup_epochs": 0.0, "burn_in": 0.0, "ramp": 0.0}

    def after(devices):
        strategy = strategy_for(devices)
        with strategy.scope():
            method = method_batches.method(
                method_name, spec=spec, modalities=modalities, synchronized=len(devices) > 1, precision=precision, **how
            )
        data = method_batches.batch(0, 6, 4, dtype=precision, modalities=modalities, spatial=spec.spatial)
        terms = method_batches.eager_step(method, strategy)(data)
        return float(terms["loss"]), method_batches.weights(method)

    (loss, one), (again, two) = after(["cpu:0"]), after(["cpu:0", "cpu:1"])
    assert again == pytest.approx(loss, rel=rtol)
    for key, arrays in one.items():
        for a, b in zip(arrays, two[key], strict=True):
            np.testing.assert_allclose(b, a, rtol=rtol, atol=atol, err_msg=key)


@method_batches.half_precision
@each_network
def test_half_precision_is_of_the_features_alone(name, dimensions):
    spec = smallest(name, dimensions)
    method = method_batches.method("supervised", spec=spec, precision="bfloat16", lr_warmup_epochs=0.0)
    student = method.students["ct"]
    assert {weight.dtype for weight in student.weights} == {"float32"} and student.output.dtype == "float32"
    assert "bfloat16" in {layer.compute_dtype for layer in student.layers}
    terms = method.train_step({"labelled": method_batches.batch(0, spatial=spec.spatial)["labelled"]})
    assert all(np.isfinite(float(value)) for value in terms.values())


@pytest.mark.parametrize("name, dimensions", [case for case in CASES if case[1] == 2])
def test_what_is_exported_is_loaded_and_knows_its_specification(name, dimensions, tmp_path):
    network = _varied(catalogue.build(smallest(name, dimensions), name="ct"))
    with_dropout = catalogue.with_dropout(network) if ENTRIES[name].dropout else None
    # `publish` compares the saved network with the one in memory.
    made = publish(network, threshold_model.manifest("ct"), tmp_path / "ct", with_dropout=with_dropout, warm_up=())
    manifest = Manifest.load(made.folder)
    assert manifest.network == network.spec and manifest.monte_carlo == ENTRIES[name].dropout
    probabilities = exported_model.load(made.folder).slices(_inputs(network.spec))
    np.testing.assert_allclose(probabilities, network(_inputs(network.spec), training=False), atol=1e-5)


@each_network
def test_a_runs_networks_are_built_again_from_its_folder(name, dimensions, tmp_path):
    network, spec = _varied(catalogue.build(smallest(name, dimensions), name="ct")), smallest(name, dimensions)
    best = {"ct": {"dice": 0.5, "threshold": 0.5, "step": 1, "stage": "supervised"}}
    body = {"dataset": "data", "data_hash": "d", "run_hash": "r", "modalities": ["ct"], "best": best}
    body |= {"window": spec.window, "width": spec.width, "network": spec.to_json()}
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "run.json").write_text(json.dumps(body))
    arrays = {f"{index:04d}": array for index, array in enumerate(network.get_weights())}
    np.savez(weights_file(tmp_path, "ct"), **arrays)
    run = Run.load(tmp_path)
    assert run.spec == spec and run.window == spec.window
    np.testing.assert_array_equal(run.network("ct")(_inputs(network.spec)), network(_inputs(network.spec)))


def test_a_run_of_before_the_specification_is_a_plain_unet(tmp_path):
    network = catalogue.build(catalogue.specification("unet", window=WINDOW, width=1), name="ct")
    best = {"ct": {"dice": 0.5, "threshold": 0.5, "step": 1, "stage": "supervised"}}
    body = {"dataset": "data", "data_hash": "d", "run_hash": "r", "modalities": ["ct"], "best": best}
    (tmp_path / "checkpoints").mkdir()
    np.savez(
        weights_file(tmp_path, "ct"), **{f"{index:04d}": array for index, array in enumerate(network.get_weights())}
    )
    (tmp_path / "run.json").write_text(json.dumps({**body, "window": WINDOW, "width": 1}))
    assert Run.load(tmp_path).spec == NetworkSpec("unet", WINDOW, 1, 5)
    Run.load(tmp_path).network("ct")
    (tmp_path / "run.json").write_text(json.dumps({**body, "window": 40, "width": 1}))
    with pytest.raises(UserError, match=r"run\.json: .*window that is a multiple of 16, got 40"):
        Run.load(tmp_path)


def test_a_layer_that_the_builder_did_not_make_is_noticed(monkeypatch):
    """Else the teacher with dropout would have initial weights where the student has trained ones."""
    from tests.support import gated_network

    connect = gated_network.connect

    def own_layer(slices, build, spec):
        return connect(keras.layers.Conv2D(1, 1)(slices), build, spec)

    monkeypatch.setattr(gated_network, "connect", own_layer)
    network = catalogue.build(smallest("gated"), name="ct")
    with pytest.raises(ValueError, match="gated makes layers without its builder"):
        catalogue.with_dropout(network)


def test_methods_refuse_networks_without_what_they_need(monkeypatch):
    bare = dataclasses.replace(ENTRIES["gated"], features=(), dropout=False)
    monkeypatch.setitem(catalogue.NETWORKS, "gated", bare)
    with pytest.raises(UserError, match="no dropout"):
        catalogue.with_dropout(catalogue.build(smallest("gated"), name="ct"))
    for name, entry in methods.METHODS.items():
        train, how = TrainSettings(method=(name,), epochs=(1,), network="gated"), MethodSettings(teacher_dropout=True)
        problems = [problem for problem, _ in contradictions(train, how)]
        assert bool(problems) == bool(entry.needs_features or entry.needs_dropout(how)), name
        assert all(re.fullmatch(f"expected a --network with .* for {name}, got gated", one) for one in problems)
