"""`manifest.json`: written and read again, from a file or as text, and refused where it is none."""

import dataclasses
import json

import pytest

from semicml_tf.artefact.manifest import RELATIVE_PATH, Manifest
from semicml_tf.errors import UserError
from semicml_tf.inference.postprocess import Postprocessing
from tests import threshold_model

LIMITS = threshold_model.manifest("ct").limits.to_json()


@pytest.mark.parametrize("modality", ["ct", "pet", "mr"])
def test_file_and_text_are_one_and_are_read_as_written(tmp_path, modality):
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


def test_limits_are_those_of_the_normalisation_where_a_published_manifest_has_none():
    body = json.loads(threshold_model.manifest("pet").to_json())
    assert body.pop("plausibility") is None
    read = Manifest.from_json(json.dumps(body), "the server")
    assert read.limits.highest == 200 and read.limits.maximum_above == 1.05 and read.limits.accepted == ()


def test_constants_stand_in_it_where_they_are_the_modalitys():
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


@pytest.mark.parametrize(
    "change, message",
    [
        ({"contract_version": 1}, "contract version 2, got 1.*Export the run again"),
        ({"contract_version": None}, "contract version 2, got None"),
        ({"window": None}, "the field 'window' is missing"),
        ({"normalisation": "hu:3:1"}, "expected a normalisation KIND:LOW:HIGH"),
        ({"postprocessing": "shrink"}, "expected post-processing"),
        ({"spacing_mm": [1, 2]}, "a field has a wrong value"),
        ({"spacing_mm": 3}, "a field has a wrong value"),
        ({"threshold": "half"}, "a field has a wrong value"),
        ({"plausibility": {"spacing_mm": [0.01, 200]}}, "a field has a wrong value .expected plausibility with"),
        ({"plausibility": {**LIMITS, "highest": "much"}}, "a field has a wrong value .expected finite limits"),
        ({"plausibility": {**LIMITS, "spacing_mm": [200, 0.01]}}, "a field has a wrong value .expected finite limits"),
        ({"probabilities_dtype": "float64"}, "float32 or float16, got 'float64'"),
    ],
)
def test_what_is_no_manifest_is_one_line(change, message):
    body = json.loads(threshold_model.manifest("ct").to_json()) | change
    body = {name: value for name, value in body.items() if value is not None}
    with pytest.raises(UserError, match=f"the server: .*{message}") as caught:
        Manifest.from_json(json.dumps(body), "the server")
    assert "\n" not in caught.value.line


@pytest.mark.parametrize("text", ["", "{", "[]", "3"])
def test_other_text_is_one_line(text):
    with pytest.raises(UserError, match="the server: expected"):
        Manifest.from_json(text, "the server")
