"""Opening a published model, and refusing what is none."""

import shutil

import numpy as np
import pytest

import semicml_tf
from semicml_tf.errors import UserError
from tests.support import threshold_model


@pytest.fixture
def copy(models, tmp_path):
    shutil.copytree(models / "ct", tmp_path / "ct")
    return tmp_path / "ct"


@pytest.mark.parametrize("modality", ["ct", "pet"])
def test_predict_takes_native_units_on_any_grid(models, modality):
    values = threshold_model.volume(modality)
    model = semicml_tf.load(models / modality)
    assert model.manifest.modality == modality
    mask = model.predict(values, threshold_model.oblique())
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, values > threshold_model.LEVELS[modality])
    probabilities = model.probabilities(values, threshold_model.oblique())
    assert probabilities.dtype == np.float32
    np.testing.assert_array_equal(probabilities >= 0.5, mask)


def test_the_highest_number_is_taken_not_the_last_name(copy):
    for version in ("9", "10"):
        shutil.copytree(copy / "1", copy / version)
    (copy / ".staged-x").mkdir()
    assert semicml_tf.load(copy).folder.name == "10"
    assert semicml_tf.load(copy / "9").folder.name == "9"


def test_folders_that_are_no_model_are_refused(models, copy, tmp_path):
    with pytest.raises(UserError, match="there is none"):
        semicml_tf.load(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no saved_model.pb"):
        semicml_tf.load(tmp_path / "empty")
    with pytest.raises(UserError, match="several: ct, pet"):
        semicml_tf.load(models)
    (copy / "1" / "assets.extra" / "manifest.json").unlink()
    with pytest.raises(UserError, match="manifest.json: expected the manifest"):
        semicml_tf.load(copy)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9])
@pytest.mark.parametrize("damage", ["saved_model.pb", "variables/variables.index"])
def test_a_damaged_model_is_one_line(copy, damage, share):
    path = copy / "1" / damage
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match="damaged") as caught:
        semicml_tf.load(copy)
    assert "\n" not in caught.value.line and str(copy / "1") in caught.value.line


def test_a_manifest_that_does_not_fit_its_network_is_refused(copy):
    threshold_model.manifest("ct", window=32).save(copy / "1")
    with pytest.raises(UserError, match="expected signature 'serving_default' as the manifest says"):
        semicml_tf.load(copy)
