"""Processes on this machine that work on cases, in a `concurrent.futures.ProcessPoolExecutor`.

Workers end with this process, whatever ends it: an error and a stop signal kill them, and each worker watches for a
parent that was killed.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import multiprocessing
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from semicml_tf.errors import UserError

Job = TypeVar("Job")
Result = TypeVar("Result")

_LOOK_S = 0.5  # between looks whether workers are alive, while no job ends
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class WorkerPool:
    """A context manager; workers start with the first jobs and serve every further call of `map`.

    Args:
        workers: number of processes.
    """

    def __init__(self, workers: int):
        self._workers = workers
        self._executor: concurrent.futures.ProcessPoolExecutor | None = None
        self._others = set(multiprocessing.active_children())
        self._started: set[multiprocessing.process.BaseProcess] = set()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_) -> None:
        self._end(kill=kind is not None)

    def map(
        self, function: Callable[[Job], Result], jobs: Iterable[Job], name: Callable[[Job], str]
    ) -> Iterator[tuple[Job, Result]]:
        """Yields each job with its result, in the order in which the jobs end.

        Args:
            function: at the top level of a module of this package, since workers import it.
            jobs: passed to `function` one by one.
            name: what an error calls a job, e.g. ``case P01``.

        Raises:
            UserError: a worker ended before its job was done, or processes cannot be started.
            Exception: whatever `function` raised; all workers have ended then.
        """
        waiting = iter(jobs)
        running: dict[concurrent.futures.Future, Job] = {}
        try:
            while True:
                # No job waits in the pool: whatever is in it is under way, and is named if a worker dies.
                for job in itertools.islice(waiting, self._workers - len(running)):
                    running[self._submit(function, job)] = job
                if not running:
                    return
                for future in self._ended(running):
                    result = future.result()
                    yield running.pop(future), result
        except BaseException as error:
            self._end(kill=True)
            if isinstance(error, BrokenProcessPool):
                names = " or ".join(sorted(map(name, running.values())))
                raise UserError(
                    f"a worker process ended before its work was done, on {names}",
                    remedy="Most often memory ran out: run again with fewer --workers; what is finished is kept",
                ) from error
            raise

    def _ended(self, running: Iterable[concurrent.futures.Future]) -> set[concurrent.futures.Future]:
        """Waits until jobs end; returns their futures.

        The executor does not watch a worker that it starts after its own thread began to wait, so its death is
        looked for here, too.
        """
        while True:
            done, _ = concurrent.futures.wait(running, _LOOK_S, concurrent.futures.FIRST_COMPLETED)
            if done:
                return done
            if any(worker.exitcode is not None for worker in self._started):
                raise BrokenProcessPool

    def _submit(self, function: Callable[[Job], Result], job: Job) -> concurrent.futures.Future:
        try:
            if self._executor is None:
                self._executor = concurrent.futures.ProcessPoolExecutor(
                    self._workers, mp_context=multiprocessing.get_context("spawn"), initializer=_end_with_parent
                )
            with _starting_workers():
                future = self._executor.submit(function, job)
            self._note_workers()
            return future
        except (OSError, ImportError, NotImplementedError) as error:
            raise UserError(
                f"the system refused to start a worker process ({error})",
                remedy="Use fewer --workers; --workers=1 starts none",
            ) from error

    def _note_workers(self) -> None:
        self._started.update(set(multiprocessing.active_children()) - self._others)

    def _end(self, *, kill: bool = False) -> None:
        executor, self._executor = self._executor, None
        if executor is None:
            return
        if kill:
            self._note_workers()  # a signal may have come before this was done for the last one
            for worker in self._started:
                worker.kill()
        executor.shutdown(wait=True, cancel_futures=True)
        self._started.clear()


@contextlib.contextmanager
def _starting_workers() -> Iterator[None]:
    """What workers that are started within inherit, and what they do not.

    They inherit that stop signals are blocked: this process alone answers Ctrl-C, and ends them. They do not import
    the script that runs here: it may lack the guard ``if __name__ == "__main__"``.
    """
    script, sys.modules["__main__"] = sys.modules["__main__"], types.ModuleType("__main__")
    former = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    try:
        yield
    finally:
        sys.modules["__main__"] = script
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def _end_with_parent() -> None:
    """Ends this worker when the process that started it is gone, even by SIGKILL."""

    def watch() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
