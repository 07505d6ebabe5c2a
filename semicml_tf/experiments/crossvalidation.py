"""The job of `semicml_tf.crossvalidate`: cross-validates one study, and lists its runs as an ensemble."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

from semicml_tf.evaluation import pooled_report, report, table
from semicml_tf.evaluation.metrics.catalogue import METRICS
from semicml_tf.experiments import method_row, plan, pooled_cells, publish, runs, scheduler
from semicml_tf.experiments.config import CrossvalidateConfig, command
from semicml_tf.experiments.method_row import Row
from semicml_tf.experiments.plan import Plan
from semicml_tf.experiments.run_spec import Cell
from semicml_tf.experiments.study import Study
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.runs import ensemble

_FOLDS = 5
ENSEMBLE = "ensemble"


@dataclasses.dataclass(frozen=True)
class CrossvalidateResult:
    """The results of a cross-validation.

    Attributes:
        plan: the cross-validation; its cells are the runs.
        metrics: contents of OUTPUT/evaluation/test/metrics.json: each patient once, with the mean of the patient's
            scores over the repeats. None after a dry run.
        ensemble: folder of the ensemble; None after a dry run.
        not_used: one message per run with other settings or data, with the differences.
        text: for the screen.
    """

    plan: Plan
    metrics: dict | None
    ensemble: pathlib.Path | None
    not_used: tuple[str, ...]
    text: str

    @property
    def scores(self) -> dict[str, dict[str, float | None]]:
        """Mean over patients and classes, by modality and then by measure, e.g. ``scores["ct"]["dice"]``."""
        rows = report.networks(self.metrics) if self.metrics else []
        return {
            row["modality"]: {name: row["summary"][name]["mean"] for name in METRICS if name in row["summary"]}
            for row in rows
        }


def crossvalidate(config: CrossvalidateConfig) -> CrossvalidateResult:
    """Trains and scores the unfinished runs of all folds and repeats, and writes the tables and the ensemble.

    With ``dry_run``, only makes the plan.

    Raises:
        UserError: the folds do not fit the dataset, the dataset has changed since the cross-validation started, another
            process works in the output folder, or a run fails. Finished runs are kept; the same call resumes.
    """
    planned = _plan(config)
    if config.dry_run:
        planned, stale = runs.with_stale_cells(planned)
        return CrossvalidateResult(planned, None, None, tuple(stale), planned.text())
    planned, _ = scheduler.run(planned, config.workers, lambda now: _publish(config, now))
    folder = _metrics_folder(planned.output)
    body = report.load(folder / report.FILE_NAME)
    members = planned.output / ENSEMBLE
    ensemble.write_ensemble(members, [cell.folder for cell in planned.cells])
    text = "\n".join(
        [
            table.screen(body),
            runs.finished_text(planned),
            f"metrics: {folder / report.FILE_NAME}",
            f"table over repeats and folds: {planned.output / 'table.md'}",
            f"for one model of all runs per modality: python -m semicml_tf.export --run={members} --output=MODELS",
        ]
    )
    return CrossvalidateResult(planned, body, members, (), text)


def _plan(config: CrossvalidateConfig) -> Plan:
    study = Study(config.flagfile)
    info = DatasetInfo.load(config.dataset)
    number = config.folds or (None if config.fold_file else _FOLDS)
    row = Row(
        name=pathlib.Path(config.flagfile[-1]).stem or "study",
        flags=(),
        modality_sets=(info.modalities,),
        labelled=method_row.parse_labelled([config.labelled_patients]),
        seeds=tuple(range(config.repeats)),
    )
    output = pathlib.Path(config.output)
    planned = plan.over_folds(study, output, info, config.folds_of(number), [row], reference=row.name)
    return plan.scored(planned, config.postprocessing)


def _metrics_folder(output: pathlib.Path) -> pathlib.Path:
    return output / "evaluation" / "test"


def _publish(config: CrossvalidateConfig, planned: Plan) -> pathlib.Path | None:
    """Writes the tables of the finished repeats, and returns their folder; None if no repeat is finished."""
    command_line = command(config)
    cells = pooled_cells.pooled(planned, command=command_line)
    done = [cell for cell in cells if cell.finished]
    if not done:
        return None
    _write_mean(planned.output, done, command_line)
    publish.publish(
        cells, planned.output, reference=planned.reference, command=command_line, hashes=planned.shown_hashes()
    )
    return planned.output


def _write_mean(output: pathlib.Path, cells: Sequence[Cell], command_line: str) -> None:
    bodies = [report.load(cell.metrics_path) for cell in cells]
    folder = _metrics_folder(output)
    for cell, body in zip(cells, bodies):
        # Relative to the folder of the joined report.
        for fold, member in zip(body["folds"], cell.members):
            fold["run"] = pooled_cells.place_of(member, folder)
    pooled_cells.write(folder, pooled_report.mean_over_repeats(bodies, command=command_line))
