"""The jobs of `semicml_tf.evaluate`: score a run or other masks, or choose a run's post-processing."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import shlex
from collections.abc import Sequence

from semicml_tf.configuration import command_line
from semicml_tf.errors import UserError
from semicml_tf.evaluation import (
    case_images,
    data_provenance,
    overlay,
    postprocessing_choice,
    report,
    score_cases,
    segment,
    table,
    trivial_baselines,
)
from semicml_tf.evaluation.baseline_margin import shortfalls
from semicml_tf.evaluation.config import EvaluateConfig
from semicml_tf.evaluation.external_masks import job as external_masks
from semicml_tf.evaluation.metrics.catalogue import METRICS
from semicml_tf.records.shards import check_shards, read_cases
from semicml_tf.runs.run_folder import Run
from semicml_tf.system import atomic_files, cpu, locks, progress, quiet_import

COMMAND = "semicml_tf.evaluate"
FILES = ("metrics.json", "metrics.csv", "table.txt", "table.md", "overlays.png", "cases")


@dataclasses.dataclass(frozen=True)
class EvaluateResult:
    """The scores of a run, or of the masks of another tool.

    Attributes:
        folder: of the written files.
        metrics: contents of metrics.json.
        scores: mean over patients and classes, by modality and measure, e.g. ``scores["ct"]["dice"]``; by name of the
            row for masks. None if a measure is undefined for all patients.
        shortfalls: one sentence per network that misses ``require_margin``.
        text: tables and notes for the screen.
        warnings: to be checked before the scores are used.
    """

    folder: pathlib.Path
    metrics: dict
    scores: dict[str, dict[str, float | None]]
    shortfalls: tuple[str, ...]
    text: str
    warnings: tuple[str, ...] = ()

    @property
    def metrics_file(self) -> pathlib.Path:
        """Path of metrics.json."""
        return self.folder / report.FILE_NAME

    @property
    def problem(self) -> UserError | None:
        """The error of the command if a network misses ``require_margin``, else None."""
        if not self.shortfalls:
            return None
        return UserError(
            "; ".join(self.shortfalls),
            path=self.metrics_file,
            remedy="Train longer or on more labelled patients, or lower --require_margin",
        )


@dataclasses.dataclass(frozen=True)
class PostprocessingChoice:
    """The post-processing that was chosen on the validation patients.

    Attributes:
        file: RUN/postprocessing.json.
        choice: its contents.
        text: one line per modality, for the screen.
    """

    file: pathlib.Path
    choice: dict
    text: str


def evaluate(config: EvaluateConfig) -> EvaluateResult:
    """Scores a run's networks patient by patient, beside the no-network baselines, and writes the files.

    With ``config.masks``, scores these masks of another tool in the same way.

    Raises:
        UserError: the run, the masks, the data or the output folder cannot be used. The message names the remedy.
    """
    if config.choose_postprocessing:
        raise UserError(
            "choose_postprocessing writes no scores", remedy="Call choose_postprocessing(config), or set it to False"
        )
    with contextlib.ExitStack() as stack:
        return _evaluate(config, stack) if config.masks is None else _evaluate_masks(config, stack)


def _evaluate(config: EvaluateConfig, stack: contextlib.ExitStack) -> EvaluateResult:
    run = Run.load(config.run).only(config.modalities)
    info = data_provenance.load(run, config)
    notes = data_provenance.check(run, info, config.partition, config.allow_other_data)
    if config.partition == "labelled":
        notes.append("The no-network baselines were fitted on these patients, and training may have seen them.")
    postprocessing = postprocessing_choice.load(run)
    notes += postprocessing_choice.notes(postprocessing)
    cases, labelled = data_provenance.cases_to_score(info, config.partition), info.cases("labelled")
    notes += data_provenance.one_patient_note(len(cases), config.partition)
    output = pathlib.Path(config.output or run.folder / "evaluation" / f"{config.partition}{config.suffix}")
    stack.enter_context(locks.writing(output))
    atomic_files.check_replaceable(output, FILES)
    check_shards(info, sorted({"labelled", config.partition}))

    quiet_import.tensorflow()
    records = progress.bar(read_cases(info, labelled), total=len(labelled), desc="fitting the baselines")
    fitted = trivial_baselines.fit(records, {name: info.normalisation[name] for name in run.modalities})
    segmenters = {
        name: segment.by_network(
            run.network(name), name, run.patch, config.batch_size, classes=len(run.labels.names), averaging=config
        )
        for name in run.modalities
    }
    segmenters |= {name: trivial_baselines.segmenter(of_classes) for name, of_classes in fitted.items()}
    thresholds = {name: run.thresholds(name) for name in run.modalities}
    panels = []
    images = stack.enter_context(
        case_images.CaseImages(output, run.modalities, thresholds, config.case_images, len(labelled), run.labels.names)
    )

    def keep_images(record, answers):
        panels.append(overlay.panel(record, run.modalities, answers))
        images.add(record, answers)

    results = score_cases.evaluate_predictions(
        progress.bar(read_cases(info, cases), total=len(cases), desc=f"scoring {config.partition}"),
        segmenters,
        thresholds=thresholds,
        postprocessing=postprocessing,
        surface_tolerance_mm=config.surface_tolerance_mm,
        jobs=config.jobs or cpu.available(),
        on_case=keep_images,
    )
    body = report.build(
        command=command_line(COMMAND, config),
        run=run,
        info=info,
        partition=config.partition,
        batch_size=config.batch_size,
        averaging=config,
        results=results,
        fitted=fitted,
        postprocessing=postprocessing,
        notes=notes,
        surface_tolerance_mm=config.surface_tolerance_mm,
        failure_dice=config.failure_dice,
    )
    with atomic_files.new_directory(output, overwrite=True) as staged:
        _write_tables(staged, body)
        _write_overlays(staged, panels, run.modalities)
        images.move_to(staged)
    text = [_text(body, output)]
    if not config.output and not config.suffix:  # the page shows the evaluation with default options
        partition = "" if config.partition == "test" else f" --partition={config.partition}"
        text.append(f"for a page: python -m semicml_tf.report {shlex.quote(str(run.folder))}{partition}")
    return EvaluateResult(
        folder=output,
        metrics=body,
        scores={row["modality"]: _means(row["summary"]) for row in report.networks(body)},
        shortfalls=_shortfalls(body, config),
        text="\n".join(text),
    )


def _evaluate_masks(config: EvaluateConfig, stack: contextlib.ExitStack) -> EvaluateResult:
    output = external_masks.output_of(config)
    scored = external_masks.evaluate_masks(config, output, FILES, stack)
    body = scored.body
    with atomic_files.new_directory(output, overwrite=True) as staged:
        _write_tables(staged, body)
        _write_overlays(staged, scored.panels, scored.modalities, predicted=f"{body['masks']['name']}, as scored")
    metrics = shlex.quote(str(output / report.FILE_NAME))
    return EvaluateResult(
        folder=output,
        metrics=body,
        scores={row["name"]: _means(row["summary"]) for row in report.methods(body)},
        shortfalls=_shortfalls(body, config),
        text=f"{_text(body, output)}\nbeside a run: python -m semicml_tf.compare RUN {metrics}",
        warnings=scored.warnings,
    )


def _shortfalls(body: dict, config: EvaluateConfig) -> tuple[str, ...]:
    return () if config.require_margin is None else tuple(shortfalls(body, config.require_margin))


def _write_tables(staged: pathlib.Path, body: dict) -> None:
    atomic_files.write_json(staged / "metrics.json", body)
    atomic_files.write_text(staged / "metrics.csv", table.scores_csv(body))
    atomic_files.write_text(staged / "table.txt", table.screen(body))
    atomic_files.write_text(staged / "table.md", table.summary_markdown(body))


def _write_overlays(staged: pathlib.Path, panels: Sequence, modalities: Sequence[str], **legend: str) -> None:
    chosen = overlay.choose(panels)
    atomic_files.write_file(
        staged / "overlays.png", lambda stream: overlay.write_png(stream, chosen, modalities, **legend)
    )


def _means(summary: dict) -> dict[str, float | None]:
    return {name: summary[name]["mean"] for name in METRICS if name in summary}


def _text(body: dict, output: pathlib.Path) -> str:
    return "\n".join(
        [table.screen(body), f"metrics: {output / 'metrics.json'}", f"overlays: {output / 'overlays.png'}"]
    )


def choose_postprocessing(config: EvaluateConfig) -> PostprocessingChoice:
    """Tries post-processing on the validation patients, and writes the choice to RUN/postprocessing.json.

    Raises:
        UserError: the data are not the run's own, or there is no validation patient with a label.
    """
    if config.require_margin is not None:
        raise UserError(
            "--choose_postprocessing writes no scores, which --require_margin needs", remedy="Leave one of them out"
        )
    if config.run is None:
        raise UserError("expected --run, whose masks are post-processed", remedy="Leave --masks out")
    run = Run.load(config.run)
    info = data_provenance.load(run, config)
    data_provenance.require(run, info)
    check_shards(info, ["validation"])
    cases = info.cases("validation")
    path = run.folder / postprocessing_choice.FILE_NAME
    with locks.writing(path):
        quiet_import.tensorflow()
        records = progress.bar(read_cases(info, cases), total=len(cases), desc="trying post-processing")
        body = postprocessing_choice.build(
            run, info, records, batch_size=config.batch_size, averaging=config, command=command_line(COMMAND, config)
        )
        atomic_files.write_json(path, body)
    return PostprocessingChoice(path, body, f"{postprocessing_choice.screen(body)}\nchoice: {path}")
