"""Records of a stage with pseudo-labels: foreground fractions, alarms, and the teachers' weights."""

import csv
import json

import numpy as np
import pytest

from semicml_tf import commandline
from semicml_tf.runs import run_folder
from tests.training.test_run import TINY

pytestmark = pytest.mark.usefixtures("quick_runs")


def _rows(folder):
    with open(folder / "history.csv") as stream:
        return list(csv.DictReader(stream))


def _arrays(path):
    with np.load(path) as stored:
        return [stored[key] for key in sorted(stored.files)]


@pytest.fixture(scope="module")
def run(quick_runs, phantom_dataset, tmp_path_factory):
    """A supervised stage, then PReL with PET as the only teacher, which has learned almost nothing."""
    folder = tmp_path_factory.mktemp("watched") / "run"
    where = [f"--dataset={phantom_dataset}", f"--output={folder}"]
    # The first stage only makes the teacher: the graph of `supervised` is the fastest to compile.
    how = ["--method=supervised,prel", "--teachers=better", "--teacher_modality=pet"]
    commandline.call("semicml_tf.train", [*where, *TINY, *how])
    return folder


def test_epochs_of_the_stage_log_the_foreground_fractions_of_labels(run):
    rows = _rows(run)
    shares = ("label_foreground", "label_mass", "truth_foreground")
    assert [[row[name] for name in shares] for row in rows[:2]] == [["", "", ""]] * 2
    for row in rows[2:]:
        assert all(0 <= float(row[name]) <= 1 for name in shares)
        assert float(row["truth_foreground"]) > 0
        # q >= 0.5 on a share of the pixels is that much mass at least.
        assert float(row["label_mass"]) >= 0.5 * float(row["label_foreground"])


def test_alarms_are_in_the_history_and_in_the_run_file(run):
    told = {int(row["epoch"]): row["alarm"] for row in _rows(run) if row.get("alarm")}
    body = json.loads((run / "run.json").read_text())
    assert {entry["epoch"]: entry["alarm"] for entry in body["alarms"]} == told
    for row in _rows(run)[2:]:
        drawn, true = float(row["label_foreground"]), float(row["truth_foreground"])
        assert ("the teacher's labels" in row.get("alarm", "")) == (drawn < true / 20 or drawn > 0.5)


def test_the_teachers_of_a_stage_are_saved(run):
    """What was validated last before PReL is what teaches at its beginning."""
    for name in ("ct", "pet"):
        assert not run_folder.stage_weights_file(run, 1, name).exists()
    kept = _arrays(run_folder.stage_weights_file(run, 0, "pet"))
    teacher = _arrays(run_folder.teacher_weights_file(run, 1, "pet"))
    assert len(kept) == len(teacher) > 0
    for one, other in zip(kept, teacher):
        np.testing.assert_array_equal(one, other)
    assert not run_folder.teacher_weights_file(run, 1, "ct").exists()
    network = run_folder.Run.load(run).network_of(run_folder.stage_weights_file(run, 0, "pet"), "pet")
    assert all((a == b).all() for a, b in zip(kept, network.get_weights()))


def test_a_teacher_is_read_from_the_last_checkpoint(run):
    read = run_folder.Run.load(run)
    network = read.network_of(run_folder.checkpoint_file(run), "pet", "network/average/pet/")
    with np.load(run_folder.checkpoint_file(run)) as stored:
        for index, weight in enumerate(network.get_weights()):
            np.testing.assert_array_equal(weight, stored[f"network/average/pet/{index:04d}"])
