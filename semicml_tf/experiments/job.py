"""The job of `semicml_tf.experiment`: runs the unfinished cells in child processes, and writes the tables."""

from __future__ import annotations

import collections
import dataclasses
import pathlib
import shlex
import sys

from semicml_tf import commandline
from semicml_tf.configuration import as_flags
from semicml_tf.errors import UserError
from semicml_tf.experiments import plan, publish, runs, workers
from semicml_tf.experiments.config import ExperimentConfig
from semicml_tf.experiments.plan import Plan
from semicml_tf.system import cpu, progress

# Options that do not change the results. The command in the tables leaves them out.
_NOT_REPEATED = ("flagfile", "workers", "dry_run", "tables_only")


@dataclasses.dataclass(frozen=True)
class ExperimentResult:
    """The results of an experiment.

    Attributes:
        plan: the experiment; its cells are the runs.
        tables: folder of tables and figures; None where no run is finished, and after a dry run.
        not_used: runs of other settings or data, each with the differences.
    """

    plan: Plan
    tables: pathlib.Path | None
    not_used: tuple[str, ...] = ()

    @property
    def finished(self) -> int:
        """Number of runs that are trained and scored."""
        return sum(cell.finished for cell in self.plan.cells)

    @property
    def text(self) -> str:
        """The number of finished runs in words."""
        return f"{self.plan.output}: {self.finished} of {len(self.plan.cells)} runs finished"


def experiment(config: ExperimentConfig) -> ExperimentResult:
    """Trains and scores the unfinished cells, and writes the tables. With ``dry_run``, only makes the plan.

    Raises:
        UserError: the experiment cannot be planned, another one works in its folder, or a run fails; runs that do not
            depend on the failed one are finished first.
    """
    planned = plan.make(config)
    if not (config.dry_run or config.tables_only):
        with workers.hold(planned.output) as inherited:
            return _run(config, planned, inherited)
    planned, stale = runs.with_stale_cells(planned)
    if config.dry_run:
        return ExperimentResult(planned, None, tuple(stale))
    tables = _publish(config, planned)
    if tables is None:
        raise UserError("no run is finished yet", path=planned.output, remedy="Leave --tables_only out")
    return ExperimentResult(planned, tables, tuple(stale))


def _run(config: ExperimentConfig, planned: Plan, inherited: int) -> ExperimentResult:
    plan.write_splits(planned)
    count = config.workers or cpu.available()
    planned, stale = runs.with_stale_cells(planned)
    jobs = runs.jobs_of(planned, workers.threads_each(count))
    cell_of = {job.name: cell for job, cell in jobs if cell is not None}
    left = collections.Counter(cell.seed for cell in cell_of.values())
    before, not_begun = sum(cell.finished for cell in planned.cells), 0
    failures: list[str] = []
    tables: pathlib.Path | None = None
    with (
        workers.Workers(count, inherited) as pool,
        progress.bar(
            total=len(planned.cells), initial=before, desc="runs", unit="run", dynamic_ncols=True, disable=not jobs
        ) as bar,
    ):

        def failed(message: str) -> None:
            failures.append(message)
            bar.write(message, file=sys.stderr)
            bar.set_postfix_str(f"{len(failures)} failed")

        def make_tables() -> pathlib.Path | None:
            try:
                return _publish(config, planned)
            except UserError as error:  # the runs are worth more than a table of some of them
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
    result = ExperimentResult(planned, tables)
    if failures:
        print(result.text)
        more = f"; and {len(failures) - 1} more, which stand above" if len(failures) > 1 else ""
        more += f"; {not_begun} steps not begun for it" if not_begun else ""
        raise UserError(f"{failures[0]}{more}", remedy="Correct it and start the same command again")
    return result


def _publish(config: ExperimentConfig, planned: Plan) -> pathlib.Path | None:
    """Writes the tables of the finished runs, and returns their folder; None where no run is finished."""
    if not any(cell.finished for cell in planned.cells):
        return None
    tables = pathlib.Path(config.tables or planned.output)
    publish.publish(
        planned.cells,
        tables,
        reference=planned.reference,
        baseline=planned.baseline,
        command=command(config),
        hashes=planned.hashes(),
    )
    return tables


def command(config: ExperimentConfig) -> str:
    """The command that repeats the experiment: its flagfiles, and the options that the flagfiles lack."""
    files = [f"--flagfile={path}" for path in config.flagfile]
    of_files = commandline.options("semicml_tf.experiment", files)
    changed = [
        field.name
        for field in dataclasses.fields(config)
        if field.name not in _NOT_REPEATED and getattr(config, field.name) != of_files[field.name]
    ]
    # Rows on the command line are added to those of the flagfiles.
    repeated = [line for line in as_flags(config, changed) if line.removeprefix("--row=") not in of_files["row"]]
    return shlex.join(["python", "-m", "semicml_tf.experiment", *files, *repeated])
