"""The processes of an experiment, each with its share of the cores, and the lock on the experiment's folder."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from semicml_tf.errors import UserError, stop_error, stop_signals
from semicml_tf.system import atomic_files, cpu, locks

FILE_NAME = ".experiment.lock"
CHILDREN_FILE_NAME = ".experiment.children.lock"
# Variables that limit the threads of TensorFlow and of NumPy's linear algebra.
_THREADS = (
    "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"
)  # fmt: skip
_POLL_S = 0.1
_PATIENCE_S = 90.0  # a training saves its state after the current step; the first step takes long


@contextlib.contextmanager
def hold(folder: pathlib.Path, *, patience_s: float = 120.0) -> Iterator[int]:
    """Locks the folder of an experiment for this process. Yields a descriptor that the child processes inherit.

    The system releases the first lock when this process ends, and the second lock when the last child ends. This also
    holds for killed processes.

    Args:
        folder: of the experiment. It is made if it is missing.
        patience_s: time to wait for the children of a killed experiment to end.

    Raises:
        UserError: another experiment works in the folder, or the children of a killed experiment do not end.
    """

    def busy(holder: str) -> UserError:
        return UserError(
            f"another experiment ({holder}) works in this folder",
            path=folder,
            remedy="Wait for it, end it, or choose another --output",
        )

    def left_running(holder: str) -> UserError:
        return UserError(
            "runs of a killed experiment still work in this folder",
            path=folder,
            remedy="Wait for them to end, or end them",
        )

    def waiting(holder: str) -> None:
        print(f"{folder}: waiting for the runs of a killed experiment", file=sys.stderr, flush=True)

    with (
        locks.held(folder / FILE_NAME, busy),
        locks.held(folder / CHILDREN_FILE_NAME, left_running, wait_s=patience_s, waiting=waiting) as children,
    ):
        yield children.descriptor


def threads_each(workers: int) -> int:
    """Threads per process, for a number of processes."""
    return max(cpu.available() // workers, 1)


@dataclasses.dataclass(frozen=True)
class Job:
    """Commands to be run one after another.

    Attributes:
        name: of the job, unique.
        commands: arguments of ``python``.
        log: file that their output is added to.
        after: name of the job that must succeed first; None without one.
    """

    name: str
    commands: tuple[tuple[str, ...], ...]
    log: pathlib.Path
    after: str | None = None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The end of a job. `failure` is None after success. `begun` is False if the job in `after` failed."""

    job: Job
    failure: str | None = None
    begun: bool = True


@dataclasses.dataclass
class _Running:
    job: Job
    process: subprocess.Popen
    left: tuple[tuple[str, ...], ...]


class Workers:
    """Runs jobs as child processes. As a context manager, it stops all children at its end.

    Each child has a session of its own, so that Ctrl-C reaches only this process. This process then sends SIGTERM to
    the children and waits for them. A second signal kills them. If this process is killed, the system sends SIGTERM.

    Args:
        count: processes at a time.
        inherited: file descriptor that children keep open.
    """

    def __init__(self, count: int, inherited: int):
        self._count, self._inherited = count, inherited
        self._running: list[_Running] = []
        self._signals: list[int] = []
        self._former: dict[int, object] = {}

    def __enter__(self) -> Workers:
        self._former = {
            number: signal.signal(number, lambda which, _: self._signals.append(which)) for number in stop_signals()
        }
        return self

    def __exit__(self, *_) -> None:
        try:
            self._stop()
        finally:
            for number, handler in self._former.items():
                signal.signal(number, handler)

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Runs jobs in order, as soon as each can start. Yields each job as it ends.

        Raises:
            KeyboardInterrupt, Terminated: a signal asked this process to stop.
        """
        waiting = list(jobs)
        names = {job.name for job in jobs}
        succeeded: dict[str, bool] = {}
        while waiting or self._running:
            for job in [job for job in waiting if succeeded.get(job.after) is False]:
                waiting.remove(job)
                succeeded[job.name] = False
                yield Outcome(job, f"not started, because {job.after} failed", begun=False)
            ready = [job for job in waiting if job.after not in names or succeeded.get(job.after)]
            for job in ready[: self._count - len(self._running)]:
                waiting.remove(job)
                self._begin(job, job.commands)
            for running in list(self._running):
                if running.process.poll() is None:
                    continue
                self._running.remove(running)
                if running.process.returncode == 0 and running.left:
                    self._begin(running.job, running.left)
                    continue
                succeeded[running.job.name] = running.process.returncode == 0
                yield Outcome(running.job, _failure(running))
            if self._signals:
                raise stop_error(self._signals[0])
            time.sleep(_POLL_S)

    def _begin(self, job: Job, commands: tuple[tuple[str, ...], ...]) -> None:
        words = [sys.executable, "-m", "semicml_tf.experiments.child_process", str(os.getpid()), *commands[0]]
        with _opened(job.log) as log:
            log.write(f"\n$ python {shlex.join(commands[0])}\n".encode())
            log.flush()
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **dict.fromkeys(_THREADS, str(threads_each(self._count)))},
                start_new_session=True,
                pass_fds=[self._inherited],
            )
        self._running.append(_Running(job, process, commands[1:]))

    def _stop(self) -> None:
        for running in self._running:
            with contextlib.suppress(OSError):
                running.process.send_signal(signal.SIGTERM)
        asked, deadline = len(self._signals), time.monotonic() + _PATIENCE_S
        for running in self._running:
            while running.process.poll() is None:
                if len(self._signals) > asked or time.monotonic() > deadline:
                    with contextlib.suppress(OSError):
                        os.killpg(running.process.pid, signal.SIGKILL)
                time.sleep(_POLL_S)
        self._running.clear()


@contextlib.contextmanager
def _opened(path: pathlib.Path) -> Iterator[BinaryIO]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = open(path, "ab")
    except OSError as error:
        raise atomic_files.unwritable(path.parent, error) from error
    with stream:
        yield stream


def _failure(running: _Running) -> str | None:
    code = running.process.returncode
    if code == 0:
        return None
    ending = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    command = running.job.commands[len(running.job.commands) - len(running.left) - 1]
    return f"{command[1]} {ending}: {last_line(running.job.log)} [{running.job.log}]"


def last_line(path: pathlib.Path) -> str:
    """The last line of a log that is not blank. Each update of a progress bar counts as a line."""
    with open(path, "rb") as stream:
        stream.seek(max(os.path.getsize(path) - 20000, 0))
        text = stream.read().decode("utf-8", "replace")
    lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
    return lines[-1] if lines else "(no output)"
