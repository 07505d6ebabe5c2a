"""The job of `semicml_tf.experiment`: runs the unfinished cells, and writes the tables."""

from __future__ import annotations

import dataclasses
import pathlib

from semicml_tf.errors import UserError
from semicml_tf.experiments import plan, pooled_cells, publish, runs, scheduler
from semicml_tf.experiments.config import ExperimentConfig, command
from semicml_tf.experiments.plan import Plan


@dataclasses.dataclass(frozen=True)
class ExperimentResult:
    """The results of an experiment.

    Attributes:
        plan: the experiment; its cells are the runs.
        tables: folder of tables and figures; None if no run is finished, and after a dry run.
        not_used: one message per run with other settings or data, with the differences.
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
        """A sentence with the number of finished runs."""
        return runs.finished_text(self.plan)


def experiment(config: ExperimentConfig) -> ExperimentResult:
    """Trains and scores the unfinished cells, and writes the tables. With ``dry_run``, only makes the plan.

    Raises:
        UserError: the experiment cannot be planned, another process works in its folder, or a run fails. Runs that do
            not depend on the failed run are finished first.
    """
    planned = plan.make(config)
    if not (config.dry_run or config.tables_only):
        done, tables = scheduler.run(planned, config.workers, lambda now: _publish(config, now))
        return ExperimentResult(done, tables)
    planned, stale = runs.with_stale_cells(planned)
    if config.dry_run:
        return ExperimentResult(planned, None, tuple(stale))
    tables = _publish(config, planned)
    if tables is None:
        raise UserError("no run is finished yet", path=planned.output, remedy="Leave --tables_only out")
    return ExperimentResult(planned, tables, tuple(stale))


def _publish(config: ExperimentConfig, planned: Plan) -> pathlib.Path | None:
    """Writes the tables of the finished runs, and returns their folder; None if no run is finished."""
    command_line = command(config)
    cells = pooled_cells.pooled(planned, command=command_line)
    if not any(cell.finished for cell in cells):
        return None
    tables = pathlib.Path(config.tables or planned.output)
    publish.publish(
        [*cells, *planned.external],
        tables,
        reference=planned.reference,
        baseline=planned.baseline,
        command=command_line,
        hashes=planned.shown_hashes(),
    )
    return tables
