"""Runs the unfinished cells of a plan in child processes, and updates the tables after each seed."""

from __future__ import annotations

import collections
import pathlib
import sys
from collections.abc import Callable, Sequence

from semicml_tf.errors import UserError
from semicml_tf.experiments import plan as plans
from semicml_tf.experiments import runs, workers
from semicml_tf.experiments.plan import Plan
from semicml_tf.experiments.run_spec import Cell
from semicml_tf.experiments.workers import Job, Workers
from semicml_tf.system import cpu, progress

# Writes the tables of the finished cells, and returns their folder; None if no cell is finished.
Publish = Callable[[Plan], pathlib.Path | None]


def run(planned: Plan, count: int, publish: Publish) -> tuple[Plan, pathlib.Path | None]:
    """Trains and scores the unfinished cells.

    Args:
        planned: the experiment.
        count: processes at a time; 0 means one per core.
        publish: called after each seed and at the end.

    Returns:
        The plan with stale cells marked, and the folder of the tables.

    Raises:
        UserError: another experiment works in the folder, or a job fails. Jobs that do not depend on the failed job
            are finished first.
    """
    count = count or cpu.available()
    with workers.hold(planned.output) as inherited, workers.Workers(count, inherited) as pool:
        _prepare(planned, pool, workers.threads_each(count))
        planned, stale = runs.with_stale_cells(planned)
        return planned, _run_cells(planned, stale, runs.jobs_of(planned, workers.threads_each(count)), pool, publish)


def _prepare(planned: Plan, pool: Workers, threads: int) -> None:
    """Records splits and scoring. With folds, the dataset is converted first, because splits need its patients."""
    if planned.folds and planned.given is None:
        plans.write_whole_split(planned)
        for outcome in pool.run(runs.data_jobs(planned, threads)):
            if outcome.failure and outcome.begun:
                raise UserError(
                    f"{outcome.job.name}: {outcome.failure}", remedy="Fix the cause, and repeat the command"
                )
    plans.check_data(planned)
    plans.write_scoring(planned)
    plans.write_splits(planned)


def _run_cells(
    planned: Plan, stale: Sequence[str], jobs: Sequence[tuple[Job, Cell | None]], pool: Workers, publish: Publish
) -> pathlib.Path | None:
    cell_of = {job.name: cell for job, cell in jobs if cell is not None}
    left = collections.Counter(cell.seed for cell in cell_of.values())
    before, not_begun = sum(cell.finished for cell in planned.cells), 0
    failures: list[str] = []
    with progress.bar(
        total=len(planned.cells), initial=before, desc="runs", unit="run", dynamic_ncols=True, disable=not jobs
    ) as bar:

        def failed(message: str) -> None:
            failures.append(message)
            bar.write(message, file=sys.stderr)
            bar.set_postfix_str(f"{len(failures)} failed")

        def make_tables() -> pathlib.Path | None:
            try:
                return publish(planned)
            except UserError as error:  # the remaining runs continue without tables
                failed(f"tables: {error.line}")
                return None

        for message in stale:
            failed(message)
        for outcome in pool.run([job for job, _ in jobs]):
            if outcome.failure and outcome.begun:
                failed(f"{outcome.job.name}: {outcome.failure}")
            not_begun += not outcome.begun
            cell = cell_of.get(outcome.job.name)
            if cell is None:
                continue
            bar.update(not outcome.failure)
            left[cell.seed] -= 1
            if not left[cell.seed] and any(left.values()):
                make_tables()
        tables = make_tables()
    if failures:
        print(runs.finished_text(planned))
        more = f"; {len(failures) - 1} more failures above" if len(failures) > 1 else ""
        more += f"; {not_begun} steps were not started" if not_begun else ""
        raise UserError(f"{failures[0]}{more}", remedy="Fix the cause, and repeat the command")
    return tables
