"""A small experiment from volumes to its table: killed, resumed, refused, and reported."""

import json
import re
import signal
import subprocess
import sys
import time

import pytest

from tests.support.experiments import ROWS, flagfile

pytestmark = pytest.mark.slow


def command(root, *arguments, flags=None):
    flags = flags or root / "experiment.flags"
    words = [f"--flagfile={flags}", f"--output={root / 'out'}", "--workers=1", *arguments]
    return [sys.executable, "-m", "semicml_tf.experiment", *words]


def run(root, *arguments, flags=None):
    return subprocess.run(command(root, *arguments, flags=flags), capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """An experiment that was killed while it trained its second run, and started again."""
    root = tmp_path_factory.mktemp("experiment")
    flagfile(root, *ROWS)
    runs = root / "out" / "runs" / "ct-pet-2-seed0"
    with open(root / "first.log", "w") as log:
        first = subprocess.Popen(command(root), stdout=log, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 300
    while not (runs / "plain.log").exists():
        assert first.poll() is None and time.monotonic() < deadline, (root / "first.log").read_text()
        time.sleep(0.05)
    first.kill()
    first.wait()
    stamp = (runs / "ours" / "evaluation" / "test" / "metrics.json").stat().st_mtime_ns
    second = run(root)
    return root, runs, stamp, second


def test_a_killed_experiment_resumes(experiment):
    root, runs, stamp, second = experiment
    assert second.returncode == 0, second.stderr
    assert "2 of 2 runs finished" in second.stdout
    assert (runs / "ours" / "evaluation" / "test" / "metrics.json").stat().st_mtime_ns == stamp
    assert (runs / "plain" / "evaluation" / "test" / "metrics.json").is_file()
    for made, times in (("volumes.log", 1), ("datasets/ct-pet-2-seed0.log", 1)):
        assert (root / "out" / made).read_text().count("\n$ python ") == times


def test_all_rows_of_a_cell_saw_the_same_draw_and_the_seed(experiment):
    root, runs, _, _ = experiment
    split = json.loads((root / "out" / "splits" / "2-seed0.json").read_text())
    assert json.loads((root / "out" / "datasets" / "ct-pet-2-seed0" / "split.json").read_text()) == split
    bodies = [json.loads((runs / row / "run.json").read_text()) for row in ("ours", "plain")]
    assert len({body["data_hash"] for body in bodies}) == 1
    assert [body["settings"]["method"] for body in bodies] == [["semi_cml", "prel"], ["supervised"]]
    assert [body["step"] for body in bodies] == [6, 6]


def test_the_table_names_rows_and_hashes(experiment):
    root, runs, _, _ = experiment
    table = (root / "out" / "table.md").read_text()
    data_hash = json.loads((runs / "ours" / "run.json").read_text())["data_hash"]
    assert re.search(r"^\| ours ", table, re.M) and re.search(r"^\| plain ", table, re.M) and data_hash in table
    (root / "out" / "table.md").unlink()
    assert run(root, "--tables_only").returncode == 0
    assert (root / "out" / "table.md").read_text() == table
    assert run(root, "--tables_only", f"--tables={root / 'tables'}").returncode == 0
    made = {path.name for path in (root / "tables").iterdir()}
    assert made == {"table.md", "table.csv", "table.png", "scores.csv", "experiment.json"}
    assert (root / "tables" / "scores.csv").read_text() == (root / "out" / "scores.csv").read_text()


def test_finished_runs_are_not_repeated(experiment):
    root, runs, _, _ = experiment
    log = (runs / "plain.log").read_text()
    again = run(root)
    assert again.returncode == 0 and "2 of 2 runs finished" in again.stdout
    assert (runs / "plain.log").read_text() == log
    assert "1 datasets, 1 made; 2 runs, 2 finished" in run(root, "--dry_run").stdout


def test_a_changed_row_is_named_and_the_others_continue(experiment, tmp_path):
    root, runs, _, _ = experiment
    changed = flagfile(tmp_path, ROWS[0] + " --asc_weight=2", ROWS[1], "--row=bad: --method=supervised --init_from=/no")
    done = run(root, flags=changed)
    assert done.returncode == 2
    assert "row 'ours' (ct-pet-2-seed0)" in done.stderr and "--asc_weight=5, now 2" in done.stderr
    assert "row 'bad' (ct-pet-2-seed0): semicml_tf.train ended with code 2" in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("semicml_tf.experiment: error: row 'ours'") and "and 1 more" in last
    assert "1 of 3 runs finished" in done.stdout
    assert "Not finished and left out: " in (root / "out" / "table.md").read_text()
    assert "not used: row 'ours'" in run(root, "--dry_run", flags=changed).stdout


def test_data_of_other_flags_are_refused(experiment, tmp_path):
    root, _, _, _ = experiment
    done = run(root, flags=flagfile(tmp_path, *ROWS, "--spacing_mm=4,4,4"))
    assert done.returncode == 2 and "--spacing_mm=6,6,6, now 4,4,4" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_training_saves_its_state_on_a_signal_and_resumes(experiment, tmp_path):
    root, runs, _, _ = experiment
    longer = flagfile(tmp_path, *ROWS, "--row=long: --method=supervised --epochs=2000")
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen(command(root, flags=longer), stdout=log, stderr=subprocess.STDOUT)
    checkpoint = runs / "long" / "checkpoints" / "last.npz"
    deadline = time.monotonic() + 300
    while not checkpoint.exists():
        assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()
        time.sleep(0.05)
    before = checkpoint.stat().st_mtime_ns
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) == 143
    last = (tmp_path / "log").read_text().strip().splitlines()[-1]
    assert last.startswith("semicml_tf.experiment: terminated. Finished runs are kept")
    assert checkpoint.stat().st_mtime_ns > before
    assert "stopped by SIGTERM" in (runs / "long.log").read_text()
