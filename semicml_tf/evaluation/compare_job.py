"""The job of `semicml_tf.compare`: several evaluated runs in one table."""

from __future__ import annotations

import dataclasses
import pathlib

from semicml_tf.configuration import command_line
from semicml_tf.evaluation import comparison, report
from semicml_tf.evaluation.config import CompareConfig, EvaluateConfig, Scoring
from semicml_tf.inference.averaging import AveragingRecord
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.runs import seen_cases
from semicml_tf.runs.run_folder import Run
from semicml_tf.storage.access import DatasetAccess
from semicml_tf.system import atomic_files, locks


@dataclasses.dataclass(frozen=True)
class CompareResult:
    """The comparison of several evaluated runs.

    Attributes:
        comparison: contents of comparison.json; see `comparison.build`.
        text: the tables in Markdown.
        folder: where the files lie; None if none were written.
    """

    comparison: dict
    text: str
    folder: pathlib.Path | None


def compare(config: CompareConfig) -> CompareResult:
    """Compares evaluated runs. With ``config.dataset``, the runs are scored on these data first.

    Raises:
        UserError: the runs were not scored on the same patients of the same data in the same way.
    """
    paths = [_metrics_of(text, config) for text in config.runs]
    names = config.names or tuple(map(_name, config.runs, paths))
    if not config.names and len(set(names)) < len(names):
        names = config.runs
    comparison.check_names(config.runs, names)
    body = comparison.build(paths, names, config.failure_dice)
    text = comparison.markdown(body)
    output = None if config.output is None else pathlib.Path(config.output)
    if output is not None:
        atomic_files.check_replaceable(output, comparison.FILES)
        body = {"command": command_line("semicml_tf.compare", config), **body}
        with locks.writing(output), atomic_files.new_directory(output, overwrite=True) as staged:
            atomic_files.write_json(staged / "comparison.json", body)
            atomic_files.write_text(staged / "comparison.md", text)
    return CompareResult(body, text, output)


def _name(text: str, path: pathlib.Path) -> str:
    """The name of a run's folder; of a metrics.json of masks, the name of the masks."""
    if not _is_file(text):
        return pathlib.Path(text).name
    source = report.load(path).get("masks")
    return source["name"] if source else pathlib.Path(text).name


def _is_file(text: str) -> bool:
    return pathlib.Path(text).suffix == ".json"


def _metrics_of(text: str, config: CompareConfig) -> pathlib.Path:
    path = pathlib.Path(text)
    if _is_file(text):
        # Masks of another tool cannot be scored again without the masks: `comparison` checks their data.
        if config.dataset and "masks" not in report.load(path):
            return _scored_on(path, config)
        return path
    if config.dataset:
        return _scored_on(path, config)
    return path / "evaluation" / f"{config.partition}{config.suffix}" / report.FILE_NAME


def _scored_on(folder: pathlib.Path, config: CompareConfig) -> pathlib.Path:
    """The metrics of a run on ``config.dataset``. The run is scored there, unless it has been scored already.

    Raises:
        UserError: the run has seen patients who are to be scored, or reads other images than those of the dataset.
    """
    run = Run.load(folder)
    info = DatasetInfo.load(config.dataset, dataset_access=config.dataset_access, cache_dir=config.cache_dir)
    is_own = run.data_hash == info.data_hash
    if not is_own and not config.allow_other_data:
        seen_cases.check(run, info, (config.partition,))
    partition = config.partition if is_own else f"{config.partition}-{info.data_hash[:12]}"
    output = folder / "evaluation" / f"{partition}{config.suffix}"
    path = output / report.FILE_NAME
    if path.exists():
        body = report.load(path)
        scored = body.get("run", {})
        averaging = {name: body[name] for name in AveragingRecord.__annotations__ if name in body}
        if (scored.get("run_hash"), scored.get("best"), averaging) == (run.run_hash, run.best, config.record):
            return path
    from semicml_tf.evaluation.job import evaluate

    shared = {
        field.name: getattr(config, field.name)
        for part in (Scoring, DatasetAccess)
        for field in dataclasses.fields(part)
    }
    shared |= {"allow_other_data": True}
    evaluate(EvaluateConfig(run=str(folder), dataset=config.dataset, output=str(output), **shared))
    return path
