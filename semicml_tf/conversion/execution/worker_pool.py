"""A pool of local worker processes, based on `concurrent.futures.ProcessPoolExecutor`.

Workers always end with this process. Errors and stop signals kill them, and each worker ends when its parent is gone.
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

_POLL_S = 0.5  # interval of checking that workers are alive, while no job ends
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class WorkerPool:
    """A context manager. Workers start with the first jobs and are used by all calls of `map`.

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
            function: a function at the top level of a module of this package, because workers import it.
            jobs: passed to `function` one by one.
            name: returns the name of a job for error messages, e.g. ``case P01``.

        Raises:
            UserError: a worker died, or processes cannot be started.
            Exception: any exception of `function`. All workers have ended by then.
        """
        waiting = iter(jobs)
        running: dict[concurrent.futures.Future, Job] = {}
        try:
            while True:
                # Submits only jobs that start at once, so that `running` names the jobs of a worker that dies.
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
                    remedy="Usually the memory was full: run again with fewer --workers. Finished cases are kept",
                ) from error
            raise

    def _ended(self, running: Iterable[concurrent.futures.Future]) -> set[concurrent.futures.Future]:
        """Waits until jobs end; returns their futures.

        The executor does not notice the death of workers that it starts while its own thread waits. Hence this method
        checks all workers.
        """
        while True:
            done, _ = concurrent.futures.wait(running, _POLL_S, concurrent.futures.FIRST_COMPLETED)
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
            self._note_workers()  # a signal may have interrupted `_submit` before it noted its worker
            for worker in self._started:
                worker.kill()
        executor.shutdown(wait=True, cancel_futures=True)
        self._started.clear()


@contextlib.contextmanager
def _starting_workers() -> Iterator[None]:
    """Prepares this process for starting workers.

    Workers inherit blocked stop signals: only this process handles Ctrl-C, and ends the workers. Workers do not import
    the main script, which may lack the guard ``if __name__ == "__main__"``.
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
