"""The job of `semicml_tf.diagnose`: how the networks of runs learned from each other."""

from __future__ import annotations

import dataclasses
import pathlib

from semicml_tf.configuration import command_line
from semicml_tf.diagnostics import label_files, relearning_report, run_selection, similarity_report, stage_report
from semicml_tf.diagnostics.config import DiagnoseConfig
from semicml_tf.evaluation import data_provenance
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.runs.run_folder import Run
from semicml_tf.system import atomic_files, locks


@dataclasses.dataclass(frozen=True)
class DiagnoseResult:
    """A diagnosis of a run, or of several runs.

    Attributes:
        file: the JSON file, report.json or provenance.json. The other files lie beside it.
        report: contents of that file.
        text: for the screen.
    """

    file: pathlib.Path
    report: dict
    text: str


def diagnose(config: DiagnoseConfig) -> DiagnoseResult:
    """Reports re-learning, stages or the similarity of maps, or writes the teachers' soft labels as NIfTI files.

    Raises:
        UserError: the run has no stage that can be diagnosed, or the data are not the run's own.
    """
    if config.diagnosis == "stages":
        return _stages(config)
    run = Run.load(config.run)
    output = pathlib.Path(config.output or run.folder / "evaluation" / config.diagnosis)
    makers = {"relearning": _relearning, "similarity": _similarity, "labels": _labels}
    return makers[config.diagnosis](config, run, output, command_line("semicml_tf.diagnose", config))


def _stages(config: DiagnoseConfig) -> DiagnoseResult:
    runs = run_selection.select(config.run, config.experiment_row)
    name = "-".join(["stages", *([config.experiment_row] if config.experiment_row else [])])
    output = pathlib.Path(config.output or pathlib.Path(config.run) / "evaluation" / name)
    atomic_files.check_replaceable(output, stage_report.FILES)
    truth = DatasetInfo.load(config.truth, dataset_access=config.dataset_access, cache_dir=config.cache_dir)
    with locks.writing(output):
        body = stage_report.build(runs, truth, config)
        text = stage_report.write(body, output)
    return DiagnoseResult(output / "report.json", body, f"{text}\nreport: {output / 'report.json'}")


def _relearning(config: DiagnoseConfig, run: Run, output: pathlib.Path, command: str) -> DiagnoseResult:
    atomic_files.check_replaceable(output, relearning_report.FILES)
    data = {}
    if config.truth:
        truth = DatasetInfo.load(config.truth, dataset_access=config.dataset_access, cache_dir=config.cache_dir)
        data = {"info": data_provenance.load(run, config), "truth": truth}
    with locks.writing(output):
        body = relearning_report.build(run, command=command, batch_size=config.batch_size, **data)
        text = relearning_report.write(body, output)
    return DiagnoseResult(output / "report.json", body, f"{text}\nreport: {output / 'report.json'}")


def _similarity(config: DiagnoseConfig, run: Run, output: pathlib.Path, command: str) -> DiagnoseResult:
    atomic_files.check_replaceable(output, similarity_report.FILES)
    info = data_provenance.load(run, config)
    with locks.writing(output):
        body, png = similarity_report.build(run, info, command=command)
        text = similarity_report.write(body, png, output)
    return DiagnoseResult(output / "report.json", body, f"{text}\npicture: {output / 'similarity.png'}")


def _labels(config: DiagnoseConfig, run: Run, output: pathlib.Path, command: str) -> DiagnoseResult:
    info = data_provenance.load(run, config)
    with locks.writing(output):
        body = label_files.write(run, info, output, command=command, batch_size=config.batch_size)
    file = output / label_files.FILE_NAME
    return DiagnoseResult(file, body, f"labels of {len(body['cases'])} patients, {body['label']}: {file}")
