"""The same bytes whatever the runner and its workers; a runner's failures in one line."""

import os
import subprocess
import sys

import pytest

from semicml_tf.conversion.execution.beam_runner import BeamRunner
from semicml_tf.conversion.execution.work_folder import WorkFolder
from semicml_tf.conversion.job import runner_of
from semicml_tf.errors import UserError
from tests.conversion.execution.test_restart import contents
from tests.support import image_folders
from tests.support.conversions import FLAGS, convert, write_split

NAMES = [f"P{number:02d}" for number in range(8)]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = image_folders.hecktor(tmp_path_factory.mktemp("engine") / "source", NAMES)
    write_split(root, {"labelled": NAMES[:3], "unlabelled": NAMES[3:6], "validation": NAMES[6:7], "test": NAMES[7:]})
    return root


@pytest.fixture(scope="module")
def one_worker(source, tmp_path_factory):
    return contents(convert(source, tmp_path_factory.mktemp("one") / "out", "--cases_per_shard=2"))


def test_beams_local_runner_writes_the_same_bytes(source, one_worker, tmp_path):
    made = contents(convert(source, tmp_path / "out", "--cases_per_shard=2", "--runner=DirectRunner"))
    assert made == one_worker


def test_worker_processes_of_a_script_without_guard_write_the_same_bytes(source, one_worker, tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text(
        "import sys\nfrom semicml_tf import commandline\nprint('run')\n"
        "commandline.call('semicml_tf.convert', sys.argv[1:])\n",
        encoding="utf-8",
    )
    flags = [f"--input={source}", f"--output={tmp_path / 'out'}", *FLAGS, "--cases_per_shard=2", "--workers=2"]
    done = subprocess.run([sys.executable, str(script), *flags], capture_output=True, text=True)
    assert (done.returncode, done.stdout.count("run\n"), done.stderr) == (0, 1, "")
    assert contents(tmp_path / "out") == one_worker


# A cluster of two processes of its own. Each worker notes its number, to show that both worked.
_ON_DASK = """
import os, sys
from distributed import LocalCluster
from semicml_tf import commandline
from semicml_tf.conversion.execution import tasks as jobs

build = jobs.build
def noted(case, *args, **named):
    open(os.path.join(os.environ["NOTES"], str(os.getpid())), "a").write(case.case_id + " ")
    assert "tensorflow" not in sys.modules
    return build(case, *args, **named)
jobs.build = noted

if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        arguments = sys.argv[1:] + [f"--beam_flag=--dask_client_address={cluster.scheduler_address}"]
        commandline.call("semicml_tf.convert", ["--runner=DaskRunner", *arguments])
"""


def test_two_workers_of_dask_write_the_same_bytes(source, one_worker, tmp_path):
    pytest.importorskip("distributed")
    script, notes = tmp_path / "on_dask.py", tmp_path / "notes"
    script.write_text(_ON_DASK)
    notes.mkdir()
    flags = [f"--input={source}", f"--output={tmp_path / 'out'}", *FLAGS, "--cases_per_shard=2"]
    done = subprocess.run(
        [sys.executable, str(script), *flags], env={**os.environ, "NOTES": str(notes)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "out") == one_worker
    by_worker = [path.read_text().split() for path in notes.iterdir()]
    assert len(by_worker) == 2 and sorted(sum(by_worker, [])) == NAMES


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_cannot_leave_its_result_is_reported_in_one_line(source, tmp_path, capfd, workers):
    report = WorkFolder(tmp_path / ".out.work").report("P02")
    (report / "in the way").mkdir(parents=True)
    with pytest.raises(UserError) as told:
        convert(source, tmp_path / "out", f"--workers={workers}")
    assert told.value.line.startswith(f"{report}: cannot write here") and "while running" not in told.value.line
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "runner,message",
    [
        (BeamRunner("NoSuchRunner"), "the Beam runner NoSuchRunner failed"),
        (
            BeamRunner("DaskRunner", ("--dask_client_address=tcp://127.0.0.1:1", "--dask_connection_timeout=1")),
            "the Beam runner DaskRunner",
        ),
        (BeamRunner("DirectRunner", ("--direct_num_workers=many",)), "the Beam runner DirectRunner failed"),
    ],
)
def test_a_runner_that_fails_is_reported_in_one_line(runner, message):
    with pytest.raises(UserError, match=f"{message}.*--runner"):
        runner.run(lambda beam, pipeline: pipeline | beam.Create([1]))


@pytest.mark.parametrize("name,extra", [("FlinkRunner", "beam"), ("DaskRunner", "dask")])
def test_without_beam_the_error_names_the_pip_command(monkeypatch, name, extra):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(UserError, match=rf'--runner={name} needs Apache Beam.*pip install "semicml-tf\[{extra}\]"'):
        BeamRunner(name).run(lambda beam, pipeline: None)


def test_the_users_flags_win_over_the_defaults():
    assert "--dask_partition_size=1" in BeamRunner("DaskRunner")._all_flags()
    given = ("--dask_npartitions=3", "--x=1")
    assert BeamRunner("DaskRunner", given)._all_flags()[-2:] == list(given)
    assert "--dask_partition_size=1" not in BeamRunner("DaskRunner", given)._all_flags()


def test_flags_of_beam_need_a_runner_of_beam():
    assert isinstance(runner_of("DaskRunner", workers=2, beam_flags=["--x=1"]), BeamRunner)
    with pytest.raises(UserError, match=r"--runner=NAME .* with --beam_flag=--x=1, got --runner=local"):
        runner_of("local", workers=2, beam_flags=["--x=1"])
