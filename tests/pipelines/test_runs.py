"""What a pipeline's runs rest on, without TFX: flags of a study, work that waits, one run at a time, the table."""

import json
import os
import subprocess
import sys

import pytest

from pipelines import run_lock, run_table, study_flags, work_folder
from pipelines.metadata_store import Row
from semicml_tf import commandline
from semicml_tf.errors import UserError

STUDY = "--cases=7\n--modalities=ct,pet\n--epochs=3,4\n--width=2\n--prel_keep_labelled=false\n"


def test_a_study_gives_each_command_its_own_flags_by_value(tmp_path):
    study = tmp_path / "study.flags"
    study.write_text(STUDY)
    text = study_flags.flags_of("semicml_tf.train", str(study), "--method=prel", "--epochs=4")
    assert study_flags.split(text) == ["--epochs=4", "--method=prel", "--noprel_keep_labelled", "--width=2"]
    # They mean the same to the command; another study's text, another step.
    values, _ = commandline.parse("semicml_tf.train", study_flags.split(text))
    assert (values.epochs, values.width, values.prel_keep_labelled) == (["4"], 2, False)
    study.write_text(STUDY.replace("width=2", "width=3"))
    assert study_flags.flags_of("semicml_tf.train", str(study), "--method=prel", "--epochs=4") != text
    with pytest.raises(UserError, match="unknown flag --widht"):
        study_flags.flags_of("semicml_tf.train", str(study), "--widht=3")


def test_the_same_inputs_find_the_same_work(tmp_path):
    first = work_folder.of(tmp_path, "Trainer", "data", "flags")
    assert first == work_folder.of(tmp_path, "Trainer", "data", "flags")
    others = [("Trainer", "data", "other"), ("Trainer", "dataf", "lags"), ("Other", "data", "flags")]
    assert len({first, *(work_folder.of(tmp_path, *one) for one in others)}) == 4


def test_work_is_handed_over_and_stays(tmp_path):
    (tmp_path / "work" / "checkpoints").mkdir(parents=True)
    (tmp_path / "work" / "checkpoints" / "best.npz").write_bytes(b"weights")
    (tmp_path / "target").mkdir()
    work_folder.hand_over(tmp_path / "work", tmp_path / "target")
    handed, held = (tmp_path / name / "checkpoints" / "best.npz" for name in ("target", "work"))
    assert handed.read_bytes() == b"weights" and os.path.samefile(handed, held)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write here"):
        work_folder.hand_over(tmp_path / "work", tmp_path / "file")


_HOLD = """
import pathlib, sys
from pipelines import run_lock
with run_lock.held(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_runs_do_not_share_a_store_and_a_kill_lets_it_go(tmp_path, capsys):
    metadata = tmp_path / "metadata.sqlite"
    other = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(metadata)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=rf"another run \(process {other.pid} on .+\) is at work"):
            with run_lock.held(metadata):
                pass
        with pytest.raises(UserError, match="another run"):
            with run_lock.held(metadata, wait_minutes=0.01):
                pass
        assert f"waiting for the run of process {other.pid}" in capsys.readouterr().out
    finally:
        other.kill()
        other.communicate()
    with run_lock.held(metadata):
        assert (tmp_path / ".metadata.sqlite.lock").read_text().startswith(f"process {os.getpid()} on ")


def test_a_store_where_nothing_can_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write here"):
        with run_lock.held(tmp_path / "file" / "metadata.sqlite"):
            pass


def test_the_table_tells_of_every_component():
    rows = run_table.complete([Row("a", "from cache", 0.1), Row("bb", "failed", 12.34, "why")], ["a", "bb", "c"])
    assert run_table.text(rows).splitlines() == [
        "component               seconds",
        "a          from cache       0.1",
        "bb         failed          12.3  why",
        "c          not reached      0.0",
    ]
    body = json.loads(json.dumps(run_table.as_json("run", rows)))
    assert [one["status"] for one in body["components"]] == ["from cache", "failed", "not reached"]
