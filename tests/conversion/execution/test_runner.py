"""The same bytes whatever the runner and its workers; a runner's own mistakes in one line."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from semicml_tf.conversion.execution.runner import CONVERSION, Engine
from semicml_tf.conversion.execution.work_folder import WorkFolder
from semicml_tf.errors import UserError
from tests.conversion.execution.test_restart import contents, finished
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


@pytest.mark.parametrize("flag", ["--workers=2", "--beam_flag=--direct_num_workers=1"])
def test_beam_writes_what_one_worker_writes_without_it(source, one_worker, tmp_path, flag):
    made = contents(convert(source, tmp_path / "out", "--cases_per_shard=2", flag))
    assert {name: made[name] for name in made if name != "dataset.json"} == {
        name: one_worker[name] for name in one_worker if name != "dataset.json"
    }


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


def test_a_second_engine_writes_the_same_bytes(source, one_worker, tmp_path):
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


def test_workers_do_not_outlive_a_killed_conversion(many, tmp_path):
    process = started(many, tmp_path)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    wait_until_nobody_is_in(process.pid)


def wait_until_nobody_is_in(session):
    """Workers are in the session that the conversion began; nobody is in it once they are gone."""
    deadline = time.monotonic() + 240
    while True:
        try:
            os.killpg(session, 0)
        except ProcessLookupError:
            break
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """More cases than two workers finish before a signal reaches them."""
    return image_folders.hecktor(tmp_path_factory.mktemp("many") / "source", [f"P{number:03d}" for number in range(60)])


def begun(root, tmp_path):
    """A conversion as a process, in a session of its own, with two workers."""
    command = [sys.executable, "-m", "semicml_tf.convert", f"--input={root}", f"--output={tmp_path / 'out'}", *FLAGS]
    return subprocess.Popen(
        [*command, "--split_seed=0", "--workers=2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell may have had it ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def started(root, tmp_path):
    """A conversion whose workers have begun."""
    process = begun(root, tmp_path)
    while not finished(tmp_path / ".out.work", "reports"):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    return process


def test_ctrl_c_ends_everything_with_one_line(many, tmp_path):
    process = started(many, tmp_path)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers, too
    try:
        _, told = process.communicate(timeout=240)
    finally:
        process.kill()
    assert (process.returncode, told) == (
        130,
        "semicml_tf.convert: interrupted. Finished cases are kept: the same command continues.\n",
    )


def test_a_worker_that_begins_after_its_conversion_is_gone_ends():
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    code = "import semicml_tf.conversion.execution.worker_watch, time; time.sleep(60)"
    environment = {**os.environ, CONVERSION: str(gone.pid)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, timeout=240).returncode == 1


def workers_of(session):
    """Numbers of Beam's worker processes in a session."""
    found = []
    for place in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            told = place.joinpath("stat").read_text().rpartition(")")[2].split()
            command = place.joinpath("cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        # The shell that starts a worker has the same words in one.
        if int(told[3]) == session and b"apache_beam.runners.worker.sdk_worker_main" in command:
            found.append(int(place.name))
    return found


def test_a_worker_that_the_system_kills_ends_the_conversion_in_one_line(many, tmp_path):
    process = started(many, tmp_path)
    os.kill(workers_of(process.pid)[0], signal.SIGKILL)
    try:
        _, told = process.communicate(timeout=240)
    finally:
        process.kill()
    assert process.returncode == 2
    assert told.count("\n") == 1 and "a worker process ended" in told and "--workers" in told
    assert not workers_of(process.pid)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_cannot_leave_its_result_is_told_in_one_line(source, tmp_path, capfd, workers):
    report = WorkFolder(tmp_path / ".out.work").report("P02")
    (report / "in the way").mkdir(parents=True)
    with pytest.raises(UserError) as told:
        convert(source, tmp_path / "out", f"--workers={workers}")
    assert told.value.line.startswith(f"{report}: cannot write here") and "while running" not in told.value.line
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "engine,message",
    [
        (Engine(runner="NoSuchRunner"), "the Beam runner NoSuchRunner failed"),
        (
            Engine(
                runner="DaskRunner", flags=("--dask_client_address=tcp://127.0.0.1:1", "--dask_connection_timeout=1")
            ),
            "the Beam runner DaskRunner",
        ),
        (Engine(flags=("--direct_num_workers=many",)), "the Beam runner DirectRunner failed"),
    ],
)
def test_a_runner_that_cannot_be_had(engine, message):
    with pytest.raises(UserError, match=f"{message}.*--runner"):
        engine.run(lambda beam, pipeline: pipeline | beam.Create([1]), jobs=1)


def test_what_is_passed_on_to_beam():
    flags = Engine(workers=8, flags=("--x=1",))._flags(3)
    assert "--direct_num_workers=3" in flags and "--direct_running_mode=multi_processing" in flags
    assert flags[-1] == "--x=1"
    # The user's own word goes first.
    assert "--direct_num_workers=3" not in Engine(workers=8, flags=("--direct_num_workers=2",))._flags(3)
    assert "--direct_running_mode=in_memory" in Engine(workers=1)._flags(3)


# One handler serves both signals: each comes once, and each moment is met once.
@pytest.mark.parametrize(
    "begin,number,code,word",
    [(begun, signal.SIGINT, 130, "interrupted"), (started, signal.SIGTERM, 143, "terminated")],
    ids=["while workers start", "while workers work"],
)
def test_told_to_end_by_a_signal_to_it_alone(many, tmp_path, begin, number, code, word):
    process = begin(many, tmp_path)
    if begin is begun:
        while not workers_of(process.pid):
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.01)
    process.send_signal(number)
    # Ends only when nobody holds its output any more: no worker is left.
    try:
        _, told = process.communicate(timeout=240)
    finally:
        process.kill()
    if process.returncode:  # else it was faster
        assert process.returncode in (code, -number), told
        assert told == "" or told.startswith(f"semicml_tf.convert: {word}. ") and told.count("\n") == 1
    wait_until_nobody_is_in(process.pid)
