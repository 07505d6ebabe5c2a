"""The processes of an experiment (order, number, end), and the lock on its folder."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from semicml_tf.errors import Terminated, UserError
from semicml_tf.experiments import workers
from semicml_tf.experiments.workers import Job, Workers


def job(folder, name, code, *more, after=None):
    return Job(name, (("-c", code), *(("-c", each) for each in more)), folder / f"{name}.log", after)


def outcomes(folder, count, *jobs):
    with workers.hold(folder) as inherited, Workers(count, inherited) as pool:
        return {outcome.job.name: outcome for outcome in pool.run(jobs)}


def wait_for(path):
    for _ in range(600):
        if path.exists() and path.read_text():
            return path.read_text()
        time.sleep(0.05)
    raise AssertionError(f"{path} did not come")


def is_alive(process):
    try:
        return pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_failure_is_reported_with_its_last_log_line_and_the_others_continue(tmp_path):
    bad = "import sys; print('begins'); sys.stderr.write('1%\\r2%\\rexpected x, got y\\n'); sys.exit(2)"
    found = outcomes(
        tmp_path,
        2,
        job(tmp_path, "bad", bad),
        job(tmp_path, "child", "1/0", after="bad"),
        job(tmp_path, "grandchild", "1/0", after="child"),
        job(tmp_path, "good", "print(1)", "print(2)"),
        job(tmp_path, "half", "print(1)", "raise SystemExit('no')", "open('never', 'w')"),
    )
    assert "ended with code 2: expected x, got y" in found["bad"].failure and found["bad"].begun
    assert not found["child"].begun and not found["grandchild"].begun
    assert "bad failed" in found["child"].failure and not (tmp_path / "child.log").exists()
    assert found["good"].failure is None
    assert [line for line in (tmp_path / "good.log").read_text().splitlines() if line in ("1", "2")] == ["1", "2"]
    assert "ended with code 1: no" in found["half"].failure


def test_a_job_waits_for_its_predecessor_while_others_run(tmp_path):
    order = tmp_path / "order"
    note = f"import time; open({str(order)!r}, 'a').write('%s ')"
    outcomes(
        tmp_path,
        2,
        job(tmp_path, "data", "import time; time.sleep(0.7);" + note % "data"),
        job(tmp_path, "run", note % "run", after="data"),
        job(tmp_path, "other", note % "other", after="there already"),
    )
    assert order.read_text().split() == ["other", "data", "run"]


@pytest.mark.parametrize("count", [1, 3])
def test_processes_are_limited_and_share_the_cores(count, tmp_path):
    code = (
        "import os, pathlib, sys, time; here = pathlib.Path(sys.argv[1]); mine = here / f'live-{os.getpid()}'; "
        "mine.touch(); time.sleep(0.3); n = len(list(here.glob('live-*'))); mine.unlink(); "
        "(here / f'seen-{os.getpid()}').write_text(f\"{n} {os.environ['TF_NUM_INTRAOP_THREADS']} \""
        " + os.environ['OMP_NUM_THREADS'])"
    )
    jobs = [Job(f"j{n}", (("-c", code, str(tmp_path)),), tmp_path / "log") for n in range(5)]
    assert not [one.failure for one in outcomes(tmp_path, count, *jobs).values() if one.failure]
    seen = [path.read_text().split() for path in tmp_path.glob("seen-*")]
    assert len(seen) == 5 and max(int(live) for live, _, _ in seen) <= count
    share = str(max(len(os.sched_getaffinity(0)) // count, 1))
    assert {(intra, omp) for _, intra, omp in seen} == {(share, share)}


@pytest.mark.parametrize("number,kind", [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_is_passed_to_the_children_and_waits_for_their_end(number, kind, tmp_path):
    code = (
        "import pathlib, signal, sys, time\n"
        f"here = pathlib.Path({str(tmp_path)!r})\n"
        "def save(*_):\n"
        "    time.sleep(0.3)\n"
        "    (here / 'saved').write_text('yes')\n"
        "    sys.exit(2)\n"
        "signal.signal(signal.SIGTERM, save)\n"
        "(here / 'ready').write_text('yes')\n"
        "time.sleep(60)\n"
    )
    poke = (
        "import os, pathlib, time\n"
        f"while not pathlib.Path({str(tmp_path / 'ready')!r}).exists(): time.sleep(0.05)\n"
        f"os.kill({os.getpid()}, {int(number)}); time.sleep(60)\n"
    )
    former = signal.getsignal(number)
    with pytest.raises(kind) as raised:
        outcomes(tmp_path, 2, job(tmp_path, "saves", code), job(tmp_path, "pokes", poke))
    assert raised.type is kind and (tmp_path / "saved").read_text() == "yes"
    assert signal.getsignal(number) == former


EXPERIMENT = """
import os, pathlib, sys
from semicml_tf.experiments import workers
from semicml_tf.experiments.workers import Job, Workers
here = pathlib.Path(sys.argv[1])
child = (
    "import os, pathlib, signal, time\\n"
    f"here = pathlib.Path({str(here)!r})\\n"
    "def end(*_):\\n"
    "    time.sleep(1)\\n"
    "    os._exit(0)\\n"
    "signal.signal(signal.SIGTERM, end)\\n"
    "(here / 'child').write_text(str(os.getpid()))\\n"
    "time.sleep(60)\\n"
)
with workers.hold(here) as inherited, Workers(1, inherited) as pool:
    list(pool.run([Job("one", (("-c", child),), here / "log")]))
"""


def test_a_folder_takes_one_experiment_and_waits_for_killed_children(tmp_path, capsys):
    first = subprocess.Popen([sys.executable, "-c", EXPERIMENT, str(tmp_path)])
    try:
        child = int(wait_for(tmp_path / "child"))
        with pytest.raises(UserError, match=rf"another experiment \(process {first.pid} on .+\) works in this folder"):
            with workers.hold(tmp_path):
                pass
    finally:
        first.kill()
        first.wait()
    # Told of its parent's death, the child takes a second to end.
    with pytest.raises(UserError, match="still work in this folder"):
        with workers.hold(tmp_path, patience_s=0):
            pass
    with workers.hold(tmp_path):
        assert not is_alive(child)
    assert "waiting for the runs of a killed experiment" in capsys.readouterr().err


def test_a_child_without_its_parent_does_not_start(tmp_path):
    words = [sys.executable, "-m", "semicml_tf.experiments.child_process", "1", "-c", "print('begun')"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (143, "")


def test_the_last_line_of_a_log(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"a\n 50%\r100%\r\n\n")
    assert workers.last_line(path) == "100%"
    path.write_bytes(b"")
    assert workers.last_line(path) == "(no output)"
