"""Workers end with their conversion, whatever ends it; a worker that dies is reported in one line."""

import concurrent.futures
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from semicml_tf.conversion.execution.worker_pool import WorkerPool
from semicml_tf.errors import UserError
from tests.conversion.execution.test_restart import finished
from tests.support import image_folders, pool_jobs
from tests.support.conversions import FLAGS


def test_workers_serve_several_stages_and_jobs_are_drawn_as_they_are_done():
    drawn = []

    def jobs():
        for number in range(20):
            drawn.append(number)
            yield number

    with WorkerPool(2) as pool:
        done, processes = [], set()
        for job, process in pool.map(pool_jobs.number_of_process, jobs(), str):
            assert len(drawn) <= len(done) + 1 + 2
            done.append(job)
            processes.add(process)
        processes.update(process for _, process in pool.map(pool_jobs.number_of_process, range(4), str))
    assert sorted(done) == list(range(20))
    assert len(processes) <= 2 and os.getpid() not in processes
    assert not multiprocessing.active_children()


def test_a_worker_that_the_system_kills_is_reported_with_its_case():
    with pytest.raises(
        UserError, match="a worker process ended .* on case bad or case good.*fewer --workers"
    ) as caught:
        with WorkerPool(2) as pool:
            list(pool.map(pool_jobs.killed_by_the_system, ["bad", "good", "later"], lambda job: f"case {job}"))
    assert "later" not in caught.value.line
    assert not multiprocessing.active_children()


def test_an_exception_in_a_worker_is_raised_as_it_is_and_ends_the_workers():
    with pytest.raises(LookupError, match="1"), WorkerPool(2) as pool:
        list(pool.map(pool_jobs.raises, [1, 1], str))
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("error", [OSError(11, "Resource temporarily unavailable"), ImportError("no semaphores")])
def test_a_system_that_starts_no_process_is_reported(monkeypatch, error):
    def refused(*args, **named):
        raise error

    monkeypatch.setattr(concurrent.futures, "ProcessPoolExecutor", refused)
    with pytest.raises(UserError, match="refused to start a worker process.*--workers=1"), WorkerPool(2) as pool:
        list(pool.map(pool_jobs.raises, [1], str))


_WAITING = """
import sys
from semicml_tf.conversion.execution.worker_pool import WorkerPool
from tests.support import pool_jobs
with WorkerPool(2) as pool:
    list(pool.map(pool_jobs.waits, sys.argv[1:], str))
"""


def test_workers_do_not_outlive_a_parent_killed_by_sigkill(tmp_path):
    notes = [tmp_path / "1", tmp_path / "2"]
    process = subprocess.Popen([sys.executable, "-c", _WAITING, *map(str, notes)], start_new_session=True)
    while not all(note.is_file() and note.read_text(encoding="utf-8") for note in notes):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    wait_until_session_is_empty(process.pid)


def wait_until_session_is_empty(session):
    """Waits until no process is left in the session that a conversion has begun."""
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


# A terminal sends Ctrl-C to the workers, too; a job queue sends SIGTERM to the group, or to the conversion alone.
@pytest.mark.parametrize(
    "send,number,code,word",
    [
        (os.killpg, signal.SIGINT, 130, "interrupted"),
        (os.killpg, signal.SIGTERM, 143, "terminated"),
        (os.kill, signal.SIGHUP, 143, "terminated"),
    ],
    ids=["Ctrl-C", "SIGTERM to the group", "SIGHUP to it alone"],
)
def test_a_stop_signal_ends_everything_with_one_line(many, tmp_path, send, number, code, word):
    process = begun(many, tmp_path)
    while not finished(tmp_path / ".out.work", "reports"):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    send(process.pid, number)
    try:
        _, stderr = process.communicate(timeout=240)
    finally:
        process.kill()
    assert (process.returncode, stderr) == (
        code,
        f"semicml_tf.convert: {word}. Finished cases are kept: the same command continues.\n",
    )
    wait_until_session_is_empty(process.pid)


def test_a_stop_signal_while_workers_start(many, tmp_path):
    process = begun(many, tmp_path)
    while not (tmp_path / ".out.work" / "lock").is_file():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    try:
        _, stderr = process.communicate(timeout=240)
    finally:
        process.kill()
    assert (process.returncode, stderr.count("\n")) == (130, 1), stderr
    wait_until_session_is_empty(process.pid)
