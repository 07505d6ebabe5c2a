"""What the signatures of a published network give, each beside normalisation and probabilities done by hand."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from semicml_tf.artefact.manifest import CONSTANT_NAMES, Manifest
from semicml_tf.exporting import slice_example
from semicml_tf.exporting.publish import publish
from semicml_tf.inference.exported_model import load
from semicml_tf.postprocessing.steps import largest_class
from semicml_tf.preprocessing.normalisation import Normalisation
from tests.support import class_models, threshold_model
from tests.support.networks import unet

WINDOW = 16
KINDS = {"ct": "hu:-150:250", "pet": "suv:0:12.5", "mr": "percentile:2:98"}
DTYPES = {"ct": "float32", "pet": "float16", "mr": "float32"}
# Half precision has 11 bits below 1.
ROUNDING = {"float32": 1e-5, "float16": 2.0**-11}


def varied(modality):
    network = unet(WINDOW, 2, name=modality, levels=2)
    rng = np.random.default_rng(3)
    network.set_weights([w + rng.normal(0, 0.1, w.shape).astype(np.float32) for w in network.get_weights()])
    return network


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A model for each kind of normalisation."""
    folder = tmp_path_factory.mktemp("models")
    for modality, how in KINDS.items():
        manifest = dataclasses.replace(
            threshold_model.manifest(modality, window=WINDOW),
            normalisation=Normalisation.parse(how),
            probabilities_dtype=DTYPES[modality],
        )
        publish(varied(modality), manifest, folder / modality, warm_up=())
    return {modality: load(folder / modality) for modality in KINDS}


@pytest.fixture
def slices():
    return np.random.default_rng(5).uniform(-1, 1, (5, WINDOW, WINDOW, 1)).astype(np.float32)


@pytest.mark.parametrize("modality", KINDS)
def test_the_saved_model_declares_what_the_manifest_tells(published, modality):
    model = published[modality]
    found = tf.saved_model.load(str(model.folder)).signatures
    assert set(found) == set(model.manifest.signatures)
    for name, told in model.manifest.signatures.items():
        inputs, outputs = found[name].structured_input_signature[1], found[name].structured_outputs
        for specs, wanted in ((inputs, told["inputs"]), (outputs, told["outputs"])):
            assert {
                key: {"dtype": spec.dtype.name, "shape": spec.shape.as_list()} for key, spec in specs.items()
            } == wanted, name


@pytest.mark.parametrize("modality", KINDS)
def test_labels_are_the_thresholded_probabilities(published, slices, modality):
    model = published[modality]
    soft = model.call("probabilities", {"slices": slices})["probabilities"]
    hard = model.call("serving_default", {"slices": slices})["labels"]
    assert (soft.dtype, hard.dtype) == (DTYPES[modality], np.uint8)
    assert 0 < hard.mean() < 1
    clear = np.abs(soft - model.manifest.threshold) > ROUNDING[DTYPES[modality]]
    np.testing.assert_array_equal(hard[clear], soft[clear] >= model.manifest.threshold)


@pytest.mark.parametrize("modality", KINDS)
def test_raw_is_normalisation_and_probabilities(published, modality):
    model = published[modality]
    how = model.manifest.normalisation
    low, high = (how.low, how.high) if how.fixed else (0, 800)
    rng = np.random.default_rng(7)
    # Three slices of three volumes, beyond the window on both sides, some of the body's outside.
    native = rng.uniform(low - 100, high + 100, (3, WINDOW, WINDOW, 1)).astype(np.float32)
    native[:, :4] = 0
    constants = [how.constants(volume * (1 + index)) for index, volume in enumerate(native)]
    inputs = {"slices": native}
    if modality == "mr":
        inputs |= {name: np.float32([getattr(one, name) for one in constants]) for name in CONSTANT_NAMES}
    found = model.call("raw", inputs)
    normalised = np.stack([one.apply(volume) for one, volume in zip(constants, native)])
    tolerance = ROUNDING[DTYPES[modality]]
    expected = model.call("probabilities", {"slices": normalised})["probabilities"]
    np.testing.assert_allclose(found["probabilities"], expected, rtol=0, atol=tolerance)
    clear = np.abs(expected - model.manifest.threshold) > tolerance
    np.testing.assert_array_equal(found["labels"][clear], expected[clear] >= model.manifest.threshold)
    assert not np.allclose(expected, model.call("probabilities", {"slices": native})["probabilities"], atol=0.01)


def test_raw_of_percentiles_needs_the_limits_too(published):
    # A bright speck beyond the upper percentile: with center and scale alone it would stay.
    model = published["mr"]
    native = np.random.default_rng(1).uniform(1, 100, (1, WINDOW, WINDOW, 1)).astype(np.float32)
    native[0, 8, 8] = 5000
    constants = model.manifest.normalisation.constants(native)
    inputs = {"slices": native} | {name: np.float32([getattr(constants, name)]) for name in CONSTANT_NAMES}
    clipped = model.call("raw", inputs)["probabilities"]
    unclipped = model.call("raw", inputs | {"high": np.float32([1e9])})["probabilities"]
    assert np.abs(clipped - unclipped).max() > 0.01


@pytest.mark.parametrize("modality", KINDS)
def test_serialized_takes_examples(published, slices, modality):
    model = published[modality]
    examples = [slice_example.encode(one) for one in slices]
    by_tensorflow = [
        tf.train.Example(
            features=tf.train.Features(
                feature={"slice": tf.train.Feature(float_list=tf.train.FloatList(value=one.ravel()))}
            )
        ).SerializeToString()
        for one in slices
    ]
    expected = model.call("probabilities", {"slices": slices}) | model.call("serving_default", {"slices": slices})
    for batch in (examples, by_tensorflow):
        found = model.call("serialized", {"examples": batch})
        assert set(found) == {"labels", "probabilities"}
        for name, values in found.items():
            np.testing.assert_allclose(values, expected[name], rtol=0, atol=ROUNDING[DTYPES[modality]])


def test_the_manifest_is_read_from_the_graph(published):
    for modality, model in published.items():
        found = model.call("manifest", {"queries": [7, 8]})["manifest"]
        assert found.shape == (2,)
        assert Manifest.from_json(found[1].decode(), "the graph") == model.manifest
        assert (model.folder / "assets.extra" / "manifest.json").read_bytes() == found[0]
        assert model.manifest.modality == modality


def test_nan_is_neither_background_nor_foreground(published, slices):
    model = published["ct"]
    clean = model.call("serving_default", {"slices": slices})["labels"]
    slices[1] = np.nan
    for signature in ("serving_default", "raw"):
        found = model.call(signature, {"slices": slices})["labels"]
        assert set(np.unique(found[1])) == {255}
        assert set(np.unique(found[[0, 2]])) <= {0, 1}
    np.testing.assert_array_equal(model.call("serving_default", {"slices": slices})["labels"][[0, 2]], clean[[0, 2]])


def test_half_precision_is_read_as_float32(published, slices):
    model = published["pet"]
    found = model.slices(slices)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, found.astype(np.float16))


@pytest.mark.parametrize("labels", [class_models.REGIONS, class_models.EXCLUSIVE], ids=lambda one: one.activation)
def test_classes_have_a_channel_each(labels, slices, tmp_path):
    publish(class_models.network(labels), class_models.manifest(labels), tmp_path / "ct", warm_up=())
    model = load(tmp_path / "ct")
    declared = tf.saved_model.load(str(model.folder)).signatures
    for name, told in model.manifest.signatures.items():
        shapes = {key: spec.shape.as_list() for key, spec in declared[name].structured_outputs.items()}
        assert shapes == {key: one["shape"] for key, one in told["outputs"].items()}
    soft = model.call("probabilities", {"slices": slices})["probabilities"]
    np.testing.assert_allclose(soft, class_models.predict(labels)(slices), atol=1e-5)
    spoilt = slices.copy()
    spoilt[1, 2, 3] = np.nan
    hard = model.call("serving_default", {"slices": spoilt})["labels"]
    assert hard.shape[-1] == (1 if labels.exclusive else 2) and (hard[1, 2, 3] == 255).all()
    hard = model.call("serving_default", {"slices": slices})["labels"]
    if labels.exclusive:
        np.testing.assert_array_equal(hard[..., 0], largest_class(np.moveaxis(soft, -1, 0)))
    else:
        np.testing.assert_array_equal(hard, soft >= np.float32([0.3, 0.6]))
    assert len(np.unique(hard)) == (4 if labels.exclusive else 2)
    card = (model.folder / "assets.extra" / "MODEL_CARD.md").read_text()
    assert all(f"foreground of {name} | values " in card for name in labels.names)
