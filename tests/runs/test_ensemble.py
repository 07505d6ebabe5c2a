"""`ensemble.json`: written and read again, moved with its runs, and refused by the name of the run."""

import json
import pathlib
import shutil

import pytest

import semicml_tf
from semicml_tf.errors import UserError
from semicml_tf.runs.ensemble import is_ensemble, read_ensemble, write_ensemble
from semicml_tf.runs.run_folder import ENSEMBLE_NAME, Run
from tests.support.run_folders import make_run


@pytest.fixture
def runs(tmp_path):
    return [make_run(tmp_path / "cv" / name, run_hash=f"hash-{name}") for name in ("a", "b")]


def test_runs_are_read_as_written_also_after_a_move(tmp_path, runs):
    path = semicml_tf.write_ensemble(tmp_path / "cv" / "ensemble", runs)
    body = json.loads(path.read_text(encoding="utf-8"))
    assert body["ensemble_version"] == 1 and [one["run"] for one in body["members"]] == ["../a/run", "../b/run"]
    assert is_ensemble(path.parent) and not is_ensemble(runs[0])
    (tmp_path / "cv").rename(tmp_path / "moved")
    read = read_ensemble(tmp_path / "moved" / "ensemble")
    assert [(run.run_hash, run.folder.resolve()) for run in read] == [
        (f"hash-{name}", tmp_path / "moved" / name / "run") for name in ("a", "b")
    ]


def test_a_member_that_is_missing_or_changed_is_refused_by_name(tmp_path, runs):
    folder = write_ensemble(tmp_path / "ensemble", runs).parent
    make_run(tmp_path / "cv" / "b", run_hash="other")
    with pytest.raises(UserError, match=r"the run '../cv/b/run' has changed: expected its run_hash hash-b, got other"):
        read_ensemble(folder)
    make_run(tmp_path / "cv" / "b", run_hash="hash-b", data_hash="other")
    with pytest.raises(UserError, match=r"the run '../cv/b/run' has changed: expected its data_hash .*, got other"):
        read_ensemble(folder)
    shutil.rmtree(runs[1])
    with pytest.raises(UserError, match=r"ensemble.json: the run '../cv/b/run' .* cannot be used: .*run.*Put the run"):
        read_ensemble(folder)


def test_a_run_is_in_an_ensemble_once(tmp_path, runs):
    (tmp_path / "link").symlink_to(runs[0])
    with pytest.raises(UserError, match="expected different runs in an ensemble, got '.*link' twice"):
        write_ensemble(tmp_path / "ensemble", [*runs, tmp_path / "link"])
    with pytest.raises(UserError, match="expected 1 to 1000 runs in an ensemble, got 0"):
        write_ensemble(tmp_path / "ensemble", [])
    with pytest.raises(UserError, match="folder of its own for the ensemble, got a run's folder"):
        write_ensemble(runs[0], runs)
    assert not is_ensemble(tmp_path / "ensemble") and not is_ensemble(runs[0])


def test_an_ensemble_in_the_place_of_a_run_is_one_line(tmp_path, runs):
    folder = write_ensemble(tmp_path / "ensemble", runs).parent
    with pytest.raises(UserError, match="expected a run's folder, got an ensemble of runs. .*semicml_tf.export"):
        Run.load(folder)


MEMBER = {"run": "../a", "run_hash": "r", "data_hash": "d"}


@pytest.mark.parametrize(
    "body, message",
    [
        ({"ensemble_version": 2, "members": [MEMBER]}, "ensemble_version: expected 1, got 2"),
        ({"ensemble_version": 1, "members": []}, "members: .*at least 1"),
        ({"ensemble_version": 1, "members": [MEMBER | {"run": "/runs/a"}]}, "path relative to ensemble.json, got '/ru"),
        ({"ensemble_version": 1, "members": [MEMBER | {"run": "a\0b"}]}, "path relative to ensemble.json"),
        ({"ensemble_version": 1, "members": [MEMBER | {"run_hash": 3}]}, r"members\[0\].run_hash"),
        ([], "expected an object"),
    ],
)
def test_what_is_no_ensemble_is_one_line(tmp_path, body, message):
    (tmp_path / ENSEMBLE_NAME).write_text(json.dumps(body))
    with pytest.raises(UserError, match=message) as caught:
        read_ensemble(pathlib.Path(tmp_path))
    assert caught.value.line.isprintable()
