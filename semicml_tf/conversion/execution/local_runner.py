"""Runs the work of a conversion on this machine: in this process, or in a pool of worker processes."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from semicml_tf.conversion.execution import tasks
from semicml_tf.conversion.execution.tasks import CaseJob
from semicml_tf.conversion.execution.worker_pool import WorkerPool
from semicml_tf.system import quiet_import


class LocalRunner:
    """Runs jobs in local processes. A context manager: its worker processes end with the block.

    Args:
        workers: number of processes; 1 = only this process.
    """

    def __init__(self, workers: int = 1):
        self._workers = workers
        self._pool = WorkerPool(workers)

    def __enter__(self) -> LocalRunner:
        return self

    def __exit__(self, *error) -> None:
        self._pool.__exit__(*error)

    def look(self, jobs: Sequence[CaseJob]) -> None:
        """Examines every case."""
        for _ in self._each(tasks.look, jobs, _case):
            pass

    def make(self, jobs: Sequence[CaseJob], sizes: dict[str, int]) -> None:
        """Makes every record, then every shard.

        Args:
            jobs: the cases' work.
            sizes: number of cases by shard.
        """
        jobs_by_shard: dict[str, list[CaseJob]] = {}
        for job, is_made in self._each(tasks.make, jobs, _case):
            if is_made:
                jobs_by_shard.setdefault(job.shard, []).append(job)
        assemble = functools.partial(tasks.assemble, sizes=sizes)
        for _ in self._each(assemble, list(jobs_by_shard.items()), lambda group: f"shard {group[0]}"):
            pass

    def _each(self, function: Callable, jobs: Sequence[Any], name: Callable[[Any], str]) -> Iterator[tuple[Any, Any]]:
        # Libraries that read images print to stderr.
        with quiet_import.stderr_held_back():
            if min(self._workers, len(jobs)) <= 1:
                for job in jobs:
                    yield job, function(job)
            else:
                with contextlib.closing(self._pool.map(function, jobs, name)) as results:
                    yield from results


def _case(job: CaseJob) -> str:
    return f"case {job.case.case_id}"
