"""`python -m semicml_tf.export` on the folder of a run."""

import dataclasses
import json

import numpy as np
import pytest

import semicml_tf
from semicml_tf import commandline
from semicml_tf.artefact.manifest import Manifest
from semicml_tf.errors import UserError
from semicml_tf.networks.unet import unet
from semicml_tf.normalisation import Normalisation
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.training.run_folder import weights_file

WINDOW, WIDTH = 32, 2


@pytest.fixture
def run(tmp_path):
    info = DatasetInfo(
        root=tmp_path / "data",
        modalities=("ct", "pet"),
        reference_modality="ct",
        spacing_mm=(3.0, 2.0, 2.0),
        normalisation={"ct": Normalisation.parse("hu:-150:250"), "pet": Normalisation.parse("suv:0:12")},
        label_values=(1, 2),
        layout="hecktor",
        partitions={},
        shard_sha256={},
    ).with_hash()
    info.save(info.root)
    folder = tmp_path / "run"
    for seed, modality in enumerate(info.modalities):
        weights = unet(WINDOW, WIDTH, name=modality, seed=seed).get_weights()
        path = weights_file(folder, modality)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **{f"{index:04d}": value for index, value in enumerate(weights)})
    body = {
        "dataset": str(info.root),
        "data_hash": info.data_hash,
        "run_hash": "abc",
        "modalities": ["ct", "pet"],
        "window": WINDOW,
        "width": WIDTH,
        "best": {"ct": {"dice": 0.6, "threshold": 0.4, "step": 3}, "pet": {"dice": 0.7, "threshold": 0.5, "step": 4}},
        "settings": {"method": "semi_cml,prel", "seed": 3},
    }
    (folder / "run.json").write_text(json.dumps(body))
    return folder


def test_every_modality_gets_a_model(run, tmp_path, capsys):
    commandline.call("semicml_tf.export", [str(run), f"--output={tmp_path / 'models'}"])
    printed = capsys.readouterr().out
    report = json.loads((tmp_path / "models" / "export.json").read_text())
    assert set(report["models"]) == {"ct", "pet"} and report["run_hash"] == "abc"
    for modality, dice, how in (("ct", 0.6, "hu:-150:250"), ("pet", 0.7, "suv:0:12")):
        folder = tmp_path / "models" / modality / "1"
        assert report["models"][modality]["folder"] == str(folder) and str(folder) in printed
        assert report["models"][modality]["max_difference"] <= 1e-5
        manifest = Manifest.load(folder)
        assert (manifest.modality, manifest.validation_dice, str(manifest.normalisation)) == (modality, dice, how)
        assert manifest.spacing_mm == (3.0, 2.0, 2.0) and manifest.label_values == (1, 2)
        assert "| method | `semi_cml,prel` |" in (folder / "assets.extra" / "MODEL_CARD.md").read_text()
        assert semicml_tf.load(folder).manifest == manifest


def test_modalities_choose(run, tmp_path):
    commandline.call("semicml_tf.export", [str(run), f"--output={tmp_path / 'models'}", "--modalities=pet"])
    assert [entry.name for entry in (tmp_path / "models").iterdir() if entry.is_dir()] == ["pet"]
    with pytest.raises(UserError, match="among ct, pet, got 'mr'"):
        commandline.call("semicml_tf.export", [str(run), f"--output={tmp_path / 'other'}", "--modalities=mr"])
    assert not (tmp_path / "other").exists()


def test_data_that_changed_since_training_is_refused(run, tmp_path):
    info = DatasetInfo.load(tmp_path / "data")
    dataclasses.replace(info, spacing_mm=(3.0, 2.0, 1.0)).with_hash().save(info.root)
    with pytest.raises(UserError, match="another hash"):
        commandline.call("semicml_tf.export", [str(run), f"--output={tmp_path / 'models'}"])
    assert not (tmp_path / "models").exists()


def test_no_run_is_one_line(tmp_path):
    with pytest.raises(UserError, match="expected --run"):
        commandline.call("semicml_tf.export", [])
    with pytest.raises(UserError, match="run.json: expected a run's folder"):
        commandline.call("semicml_tf.export", [str(tmp_path)])
