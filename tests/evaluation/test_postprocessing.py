"""Post-processing chosen on validation patients, and applied wherever masks are scored or served."""

import dataclasses
import json
import shutil

import nibabel
import numpy as np
import pytest

import semicml_tf
from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.evaluation import postprocessing_choice as choice
from semicml_tf.runs.run_folder import Run
from tests.support.evaluation_data import ball, band_network, oblique_grid, patient, write_dataset, write_run

COMMAND = "semicml_tf.evaluate"
NATIVE = oblique_grid()


def _with_speck(name, spot):
    """A patient in whom the network also finds a cube of 8 voxels (0.05 ml) that is no lesion."""
    record = patient(name, ball(NATIVE, spot, 6.5), NATIVE)
    image = record.images["ct"].copy()
    image[2:4, 20:22, 3:5] = 0.5
    return dataclasses.replace(record, images=dict.fromkeys(record.images, image))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("postprocessing")
    spots = {"labelled": (14, 12, 7), "validation": (12, 12, 7), "test": (17, 12, 8)}
    records = {partition: [_with_speck(partition, spot)] for partition, spot in spots.items()}
    write_run(folder / "run", write_dataset(folder / "data", records))
    return folder, records


@pytest.fixture
def study(made, tmp_path, monkeypatch):
    monkeypatch.setattr(Run, "network", lambda self, modality: band_network())
    # The band network is none of the catalogue: it has no dropout.
    monkeypatch.setattr("semicml_tf.exporting.members._with_dropout", lambda network, run: None)
    shutil.copytree(made[0] / "run", tmp_path / "run")
    return tmp_path / "run"


def _metrics(run):
    commandline.call(COMMAND, [str(run)])
    return json.loads((run / "evaluation" / "test" / "metrics.json").read_text())


def _rows(body):
    return {row["name"]: row["summary"]["dice"]["mean"] for row in body["rows"][:2]}


def test_scored_and_served_masks_are_post_processed_alike(study, made, tmp_path, capsys):
    before = _metrics(study)
    assert max(_rows(before).values()) < 1.0 and before["postprocessing"] == {"ct": "none", "pet": "none"}
    commandline.call(COMMAND, [str(study), "--choose_postprocessing"])
    assert "ct: min_ml=0.1 (mean DSC of 1 validation patients" in capsys.readouterr().out
    body = json.loads((study / "postprocessing.json").read_text())
    for found in body["modalities"].values():
        assert found["cases"] == ["validation"] and found["chosen"] == "min_ml=0.1"
        assert [trial["postprocessing"] for trial in found["trials"]] == [str(one) for one in choice.CANDIDATES]
        by_name = {trial["postprocessing"]: trial["dice"] for trial in found["trials"]}
        assert by_name["min_ml=0.1"] == by_name["largest"] == 1.0
        assert by_name["min_ml=2"] == 0.0  # the lesion has 1.2 ml
        assert found["gain"] == 1.0 - by_name["none"] > choice.MARGIN
    after = _metrics(study)
    assert _rows(after) == {"ct": 1.0, "pet": 1.0}
    assert after["postprocessing"] == {"ct": "min_ml=0.1", "pet": "min_ml=0.1"}
    assert sum("min_ml=0.1, chosen on the validation patients" in note for note in after["notes"]) == 2

    commandline.call("semicml_tf.export", [str(study), f"--output={tmp_path / 'models'}", "--modalities=ct"])
    assert "| `min_ml=0.1` |" in (tmp_path / "models/ct/1/assets.extra/MODEL_CARD.md").read_text()
    (record,) = made[1]["test"]
    # In HU on the native grid, with a voxel of air, without which it would be refused as no CT.
    reordered, order, flips = NATIVE.reordered()
    assert reordered.is_close(record.grid)
    image = np.flip(record.images["ct"].astype(np.float32), [axis for axis in range(3) if flips[axis]])
    native = 50 + 250 * image.transpose(np.argsort(order))
    native[0, 0, 0] = -1000
    model = semicml_tf.load(tmp_path / "models" / "ct")
    mask = model.predict(native, NATIVE.affine)
    np.testing.assert_array_equal(mask, record.native_label)
    source, out = tmp_path / "in.nii.gz", tmp_path / "out.nii.gz"
    nibabel.save(nibabel.Nifti1Image(native, NATIVE.affine), source)
    commandline.call("semicml_tf.predict", [f"--model={tmp_path / 'models/ct'}", str(source), str(out)])
    np.testing.assert_array_equal(np.asarray(nibabel.load(out).dataobj), record.native_label)


@pytest.mark.parametrize(
    "means, chosen",
    [
        ([0.5, 0.505, 0.4], 0),  # not more than the margin
        ([0.5, 0.506, 0.4], 1),
        ([0.5, 0.7, 0.7], 1),  # of equals the simplest
        ([0.7, 0.5, 0.6], 0),
    ],
)
def test_post_processing_is_none_unless_another_choice_gains(means, chosen):
    assert choice.choose(means) == chosen
    assert choice.CANDIDATES[0] == choice.NONE and choice.MARGIN == 0.005


def test_a_choice_for_another_checkpoint_is_refused(study):
    commandline.call(COMMAND, [str(study), "--choose_postprocessing"])
    body = json.loads((study / "run.json").read_text())
    body["best"]["pet"]["step"] += 1
    (study / "run.json").write_text(json.dumps(body))
    for command in (COMMAND, "semicml_tf.export"):
        with pytest.raises(UserError, match="another checkpoint of 'pet'.*choose_postprocessing"):
            commandline.call(command, [str(study)])
    (study / "postprocessing.json").unlink()
    assert choice.load(Run.load(study)) == dict.fromkeys(("ct", "pet"), {"lesion": choice.NONE})
    (study / "postprocessing.json").write_text('{"version": 1}')
    with pytest.raises(UserError, match="the field run_hash is missing"):
        choice.load(Run.load(study))
