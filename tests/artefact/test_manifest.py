"""`manifest.json`: written and read again, from a file or as text, and refused where it is none."""

import dataclasses
import json
import random

import numpy as np
import pytest

from semicml_tf.artefact.manifest import RELATIVE_PATH, Manifest
from semicml_tf.errors import UserError
from semicml_tf.networks.spec import MAX_WINDOW
from semicml_tf.postprocessing.steps import Postprocessing
from semicml_tf.preprocessing.normalisation import Normalisation
from tests.support import class_models, threshold_model

LIMITS = threshold_model.manifest("ct").limits.to_json()


@pytest.mark.parametrize("modality", ["ct", "pet", "mr"])
def test_file_and_text_round_trip(tmp_path, modality):
    made = dataclasses.replace(
        threshold_model.manifest(modality, spacing_mm=(3.0, 2.0, 2.5)),
        postprocessing=Postprocessing(largest=True),
        crop="body",
        probabilities_dtype="float16",
        monte_carlo=True,
    ).accepting(["suv_too_low"])
    made.save(tmp_path)
    assert (tmp_path / RELATIVE_PATH).read_text(encoding="utf-8") == made.to_json()
    assert Manifest.load(tmp_path) == Manifest.from_json(made.to_json(), "the server") == made


CLASSES = [class_models.REGIONS, class_models.EXCLUSIVE, dataclasses.replace(class_models.REGIONS, ignore_value=9)]


@pytest.mark.parametrize("labels", CLASSES, ids=str)
def test_classes_make_version_3(labels):
    made = class_models.manifest(
        labels, postprocessing={name: Postprocessing(largest=name == "core") for name in labels.names}
    )
    body = json.loads(made.to_json())
    assert body["contract_version"] == 3 and "label_values" not in body and "threshold" not in body
    assert list(body["labels"]["classes"]) == list(labels.names)
    assert body["signatures"]["probabilities"]["outputs"]["probabilities"]["shape"] == [None, 16, 16, made.classes]
    labels_shape = body["signatures"]["serving_default"]["outputs"]["labels"]["shape"]
    assert labels_shape == [None, 16, 16, 1 if labels.exclusive else 2]
    assert Manifest.from_json(made.to_json(), "the server") == made


def test_a_plain_model_keeps_version_2():
    body = json.loads(threshold_model.manifest("ct").to_json())
    assert (body["contract_version"], body["label_values"], body["threshold"]) == (2, [1], 0.5)
    assert not {"labels", "thresholds"} & set(body)


REGIONS, SOFTMAX = class_models.REGIONS.to_json(), class_models.EXCLUSIVE.to_json()


@pytest.mark.parametrize(
    "labels, change, message",
    [
        (CLASSES[0], {"labels": None}, "the field labels is missing"),
        (CLASSES[0], {"contract_version": 2}, "label_values is missing"),
        (CLASSES[0], {"labels": {"classes": {"lesion": [1]}}, "thresholds": {"lesion": 0.5}}, "has contract version 2"),
        (CLASSES[0], {"labels": {**REGIONS, "activation": "relu"}}, "expected 'sigmoid' or 'softmax'"),
        (CLASSES[0], {"labels": {**REGIONS, "classes": {"\x1b[2J": [1]}}}, "names of classes of letters"),
        (CLASSES[0], {"labels": {**REGIONS, "classes": {f"c{n}": [n + 1] for n in range(256)}}}, "labels.classes"),
        (CLASSES[0], {"labels": SOFTMAX}, "expected thresholds of no class, got"),
        (CLASSES[0], {"labels": {"classes": {"whole": [1], "core": [2], "more": [3]}}}, "expected thresholds of"),
        (CLASSES[0], {"thresholds": {"whole": 0.5}}, "expected thresholds of"),
        (CLASSES[0], {"thresholds": {"whole": 0.5, "core": 0}}, "thresholds.core: expected greater than"),
        (CLASSES[0], {"postprocessing": {"whole": "none"}}, "expected post-processing of"),
        (CLASSES[0], {"postprocessing": {"whole": "none", "core": "shrink"}}, "expected post-processing steps"),
        (
            CLASSES[0],
            {"network": {"window": 16, "levels": 1, "output_channels": 3}},
            "network does not have the channels of whole",
        ),
        (
            CLASSES[0],
            {"network": {"window": 16, "levels": 1, "output_channels": 2, "activation": "softmax"}},
            "the channels of",
        ),
        (CLASSES[1], {"labels": {**SOFTMAX, "classes": {f"c{n}": [n + 1] for n in range(255)}}}, "at most 254"),
        (CLASSES[1], {"labels": {**SOFTMAX, "classes": {"fat": [1], "water": [1]}}}, "share the value 1"),
        (CLASSES[1], {"preprocessing": {}}, "'preprocessing' contradicts"),
    ],
)
def test_invalid_manifests_of_classes_are_refused(labels, change, message):
    body = json.loads(class_models.manifest(labels).to_json()) | change
    text = json.dumps({name: value for name, value in body.items() if value is not None})
    with pytest.raises(UserError, match=f"the server: .*{message}") as caught:
        Manifest.from_json(text, "the server")
    assert caught.value.line.isprintable() and len(caught.value.line) < 500


def test_limits_of_older_manifests_are_those_of_the_normalisation():
    body = json.loads(threshold_model.manifest("pet").to_json())
    assert body.pop("plausibility") is None
    read = Manifest.from_json(json.dumps(body), "the server")
    assert read.limits.highest == 200 and read.limits.maximum_above == 1.05 and read.limits.accepted == ()


def test_constants_of_the_modality_are_in_the_file():
    def constants(modality):
        return json.loads(threshold_model.manifest(modality).to_json())["normalisation_constants"]

    assert constants("ct") == {"low": -200, "high": 300, "center": 50, "scale": 250}
    assert constants("pet") == {"low": 0, "high": 15, "center": 7.5, "scale": 7.5}
    assert constants("mr") is None


def test_every_tensor_has_a_free_batch_axis_first():
    for modality in ("ct", "mr"):
        manifest = dataclasses.replace(threshold_model.manifest(modality), monte_carlo=True)
        signatures = json.loads(manifest.to_json())["signatures"]
        assert set(signatures) == {
            *("serving_default", "probabilities", "raw", "serialized", "monte_carlo", "manifest")
        }
        tensors = [one for name in signatures.values() for kind in name.values() for one in kind.values()]
        assert all(one["shape"][0] is None and None not in one["shape"][1:] for one in tensors)
        assert ("center" in signatures["raw"]["inputs"]) == (modality == "mr")


def changed(change, modality="ct"):
    """The text of a manifest with other values; None removes a field."""
    body = json.loads(threshold_model.manifest(modality).to_json()) | change
    return json.dumps({name: value for name, value in body.items() if value is not None})


@pytest.mark.parametrize(
    "change, message",
    [
        ({"contract_version": 1}, "contract version 2 or 3, got 1.*Export the run again"),
        ({"contract_version": None}, "contract version 2 or 3, got null"),
        ({"contract_version": 2.0}, "contract version 2 or 3, got 2.0"),
        ({"window": None}, "the field window is missing"),
        ({"window": 0}, "window: expected numbers from 1 to 4096, got 0"),
        ({"window": -16}, "window: expected numbers from 1 to 4096, got -16"),
        ({"window": 2**20}, "window: expected numbers from 1 to 4096"),
        ({"window": 16.5}, "window.int: expected a valid integer"),
        ({"window": 24, "window_multiple": 16}, "window: expected a multiple of 16, got 24"),
        ({"window": [16, 16]}, "window.int: expected a valid integer"),
        ({"window": [16, 16, 0]}, "window: expected numbers from 1 to 4096, got .16, 16, 0."),
        ({"window": [8, 16, 16], "window_multiple": [1, 2]}, "window_multiple"),
        ({"window": [8, 16, 16], "window_multiple": [16, 16, 16]}, "window: expected a multiple of .16, 16, 16"),
        ({"window": [8, 16, 16]}, "'preprocessing' contradicts"),
        ({"window": [8, 16, 16], "context_slices": 1}, "no context_slices for patches"),
        ({"window": [4096, 4096, 4096]}, "an input of at most"),
        ({"network": {"window": 40}}, "network: expected a window that is a multiple of 16, got 40"),
        ({"network": {"window": 32}}, "network: its window is not that of the manifest"),
        ({"context_slices": 17}, "context_slices: expected less than or equal to 16"),
        ({"context_slices": 1}, "'preprocessing' contradicts"),
        ({"window": 4096, "context_slices": 16}, "an input of at most"),
        ({"network": {"window": 16, "levels": 1, "input_channels": 3}}, "does not have 0 context_slices"),
        ({"network": {"window": 16, "levels": 1}, "context_slices": 1}, "does not have 1 context_slices"),
        ({"network": {"width": 0}}, "network: expected a network's width from 1 to 1024, got 0"),
        ({"network": {"options": {"gate": [1]}}}, "network.options.gate"),
        ({"normalisation": "hu:3:1"}, "expected a normalisation KIND:LOW:HIGH"),
        ({"normalisation": "hu:-inf:300"}, "expected a normalisation KIND:LOW:HIGH"),
        ({"normalisation": "hu:-100:300"}, "'normalisation_constants' contradicts"),
        ({"postprocessing": "shrink"}, "expected post-processing"),
        ({"spacing_mm": [1, 2]}, "spacing_mm"),
        ({"spacing_mm": 3}, "spacing_mm"),
        ({"spacing_mm": [3, 2, -1]}, "spacing_mm: expected 0 or 0.01 to 1000 mm"),
        ({"spacing_mm": [3, 2, 1e-9]}, "spacing_mm: expected 0 or 0.01 to 1000 mm"),
        ({"threshold": "half"}, "threshold: expected a valid number"),
        ({"threshold": 0}, "threshold: expected greater than or equal to"),
        ({"threshold": 1.5}, "threshold: expected less than or equal to 1"),
        ({"crop": "head"}, "crop: expected 'none' or 'body'"),
        ({"crop": "body"}, "'preprocessing' contradicts"),
        ({"axis_order": ["row", "slice", "column"]}, "'axis_order' contradicts"),
        ({"modality": "ct\x1b[2J"}, "modality: expected a name of letters"),
        ({"run_hash": "\x1b[2J"}, "control characters"),
        ({"validation_dice": 7}, "validation_dice"),
        ({"validation_scores": [1]}, "validation_scores"),
        ({"probabilities_dtype": "float64"}, "expected 'float32' or 'float16'"),
        ({"label_values": list(range(2000))}, "label_values"),
        ({"plausibility": {"spacing_mm": [0.01, 200]}}, "expected plausibility with"),
        ({"plausibility": {**LIMITS, "highest": "much"}}, "expected finite limits"),
        ({"plausibility": {**LIMITS, "spacing_mm": [200, 0.01]}}, "expected finite limits"),
    ],
)
def test_invalid_manifests_are_refused(change, message):
    with pytest.raises(UserError, match=f"the server: .*{message}") as caught:
        Manifest.from_json(changed(change), "the server")
    assert caught.value.line.isprintable() and len(caught.value.line) < 500


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "[" * 50_000, " " * 2**19, b"\xff\xfe"])
def test_other_texts_are_refused(text):
    with pytest.raises(UserError, match="the server: expected"):
        Manifest.from_json(text, "the server")


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_are_finite(constant):
    text = changed({}).replace('"threshold": 0.5', f'"threshold": {constant}')
    with pytest.raises(UserError, match="not valid JSON"):
        Manifest.from_json(text, "the server")


def test_a_normalisation_is_read_back_to_the_last_digit():
    how = Normalisation("hu", -200.123456789, 300.0)
    assert str(how) == "hu:-200.123456789:300" and Normalisation.parse(str(how)) == how
    made = dataclasses.replace(threshold_model.manifest("ct"), normalisation=how)
    assert Manifest.from_json(made.to_json(), "the server") == made


def test_manifests_without_the_fields_of_today_are_read():
    old = changed({"preprocessing": None, "window_multiple": None, "weights_hash": None, "network": None})
    assert Manifest.from_json(old, "the server") == threshold_model.manifest("ct")


_VALUES = [
    *(None, True, 0, -1, 1, 17, 2**31, 10**400, 0.5, -0.0, 1e300, 5e-324, "", "ct", "\x1b[2J", "\ud800", "x" * 5000),
    *([], {}, [[]], {"": []}, [1, 2, 3], ["1"] * 3, [1e308] * 3, [5e-324] * 3, {"dtype": "float32"}),
]


def _mutated(rng, body):
    """`body` with one value, at any depth, replaced, removed or doubled."""
    place, key = body, rng.choice(sorted(body))
    while isinstance(place[key], (dict, list)) and place[key] and rng.random() < 0.5:
        place = place[key]
        key = rng.choice(sorted(place)) if isinstance(place, dict) else rng.randrange(len(place))
    how = rng.randrange(8)
    if how == 0:
        del place[key]
    elif how == 1 and isinstance(place[key], str):
        place[key] = place[key].replace(rng.choice(place[key] or "x"), rng.choice("0-:9\x00"), 1)
    else:
        place[key] = rng.choice(_VALUES)
    return body


def test_mutations_give_a_user_error_or_a_valid_manifest():
    rng = random.Random(20)
    read = 0
    for number in range(400):
        made = threshold_model.manifest(rng.choice(["ct", "mr"]), spacing_mm=(3.0, 2.0, 2.0))
        if number % 3 == 0:
            made = class_models.manifest(rng.choice(CLASSES))
        made = made.accepting(["suv_too_low"] * rng.randrange(2))
        text = json.dumps(_mutated(rng, json.loads(made.to_json())))
        if number % 4 == 0:  # damaged as text
            at = rng.randrange(len(text))
            text = text[:at] + rng.choice(["", "\0", "NaN", "9" * 400, '"', "[" * 3000]) + text[at + rng.randrange(9) :]
        try:
            found = Manifest.from_json(text, "the server")
        except UserError as error:
            assert error.line.isprintable() and len(error.line) < 1000
            continue
        read += 1
        assert all(0 < np.float32(value) <= 1 for value in found.thresholds.values()) and all(
            1 <= size <= MAX_WINDOW for size in found.patch.spatial
        )
        assert all(size == 0 or 0.01 <= size <= 1000 for size in found.spacing_mm)
        assert found.normalisation == made.normalisation or found.normalisation.fixed is None
        assert Manifest.from_json(found.to_json(), "the server") == found
    assert 20 < read < 300
