"""A pipeline's way out: nothing is numbered twice, and what the gate says is told."""

import json
import pathlib
import shutil

import numpy as np
import pytest

from pipelines import publishing
from semicml_tf.artefact.manifest import RELATIVE_PATH, Manifest
from semicml_tf.runs.run_folder import weights_file
from tests.support.evaluation_data import ball, oblique_grid, patient, write_dataset, write_run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run, its data and scores of its validation patients that say nothing."""
    root = tmp_path_factory.mktemp("publishing")
    native = oblique_grid()
    info = write_dataset(root / "data", {"labelled": [patient("l0", ball(native, (14, 12, 7), 6.5), native)]})
    write_run(root / "run", info)
    (root / "scores").mkdir()
    return root


def _publish(made, models, run=None, **changes):
    settings = {"keep": None, "margin": 0.02, **changes}
    return publishing.publish(run or made / "run", made / "scores", made / "data", models, "ct", **settings)


@pytest.fixture(scope="module")
def first(made):
    """The run's first version, in the folder `models` beside it."""
    return _publish(made, made / "models")


def test_a_killed_publisher_does_not_publish_twice(made, first):
    assert (first.version, first.reason, first.run_hash) == (1, "", "0123456789abcdef")
    assert pathlib.Path(first.folder, "saved_model.pb").exists()
    assert _publish(made, made / "models") == first
    assert [entry.name for entry in (made / "models" / "ct").iterdir()] == ["1"]


def test_a_run_that_was_trained_again_with_the_same_settings_is_another(made, first, tmp_path):
    models, again = tmp_path / "models", tmp_path / "again"
    shutil.copytree(made / "models", models)
    shutil.copytree(made / "run", again)
    path = weights_file(again, "ct")
    with np.load(path) as stored:
        arrays = {key: stored[key] + 0.01 for key in stored.files}
    np.savez(path, **arrays)
    second = _publish(made, models, run=again)
    assert (first.version, second.version) == (1, 2) and first.run_hash == second.run_hash
    assert _publish(made, models, run=again) == second
    # A version of before there was such a hash counts as another.
    manifest = models / "ct" / "2" / RELATIVE_PATH
    body = json.loads(manifest.read_text())
    del body["weights_hash"]
    manifest.write_text(json.dumps(body))
    assert Manifest.load_file(manifest).weights_hash == ""
    assert _publish(made, models, run=again).version == 3


def test_the_reason_of_the_gate_has_both_scores(made, models, tmp_path):
    shutil.copytree(models / "ct", tmp_path / "ct")
    outcome = _publish(made, tmp_path)
    assert outcome.version == 0 and outcome.folder == ""
    assert outcome.reason.startswith("held back by the gate: validation DSC 0.5000")
    assert "0.7500 of version 1" in outcome.reason
    assert [entry.name for entry in (tmp_path / "ct").iterdir() if entry.name.isdecimal()] == ["1"]
    assert _publish(made, tmp_path, margin=0.25).version == 2
