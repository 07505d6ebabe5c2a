"""`RUN/evaluation/relearning`: the report on how a run's students learned from a teacher's labels."""

from __future__ import annotations

import io
import pathlib
from typing import Literal

from typing_extensions import NotRequired, TypedDict

from semicml_tf.diagnostics import label_files, relearning, relearning_presentation
from semicml_tf.errors import UserError
from semicml_tf.evaluation import data_provenance, report
from semicml_tf.evaluation.case_images import Measured
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.runs import run_folder
from semicml_tf.runs.run_folder import Run
from semicml_tf.system import atomic_files, json_files, progress

REPORT_VERSION = 1
FILES = ("report.json", "report.md", "calibration.png")
_HOW = (
    "A label is the teacher's map of whole slices in one pass, without noise, dropout, repeated passes or "
    "augmentation, even if training had them."
)
_BATCHES = (
    "These teachers normalise by the statistics of a batch. Here a batch has consecutive slices of one patient "
    "(--batch_size), in training it has the windows of a step."
)


class _Gap(TypedDict):
    when: str
    dice: dict[str, float]


class _Label(Measured):
    label: str
    when: str


class _Calibration(TypedDict):
    rows: list[_Label]


class _Taught(TypedDict):
    teacher: str


class Report(TypedDict):
    """The fields of `report.json` that are read."""

    report_version: Literal[REPORT_VERSION]
    command: str
    taught: _Taught
    gap: list[_Gap]
    calibration: NotRequired[_Calibration | None]


def read(folder: pathlib.Path) -> Report:
    """Reads the report in a folder.

    Raises:
        UserError: the file cannot be read, or a field is missing or wrong.
    """
    return json_files.read(folder / FILES[0], Report, what="a report on re-learning", remedy="Make the report again")


def build(
    run: Run,
    *,
    command: str,
    info: DatasetInfo | None = None,
    truth: DatasetInfo | None = None,
    batch_size: int = 16,
) -> dict:
    """The contents of `report.json`.

    Args:
        run: trained with a stage that learns from a teacher's labels.
        command: the command line that repeats this report.
        info: the run's dataset; needed with `truth`.
        truth: dataset with labels of the patients that are unlabelled in `info`. Without it, labels are not measured.
        batch_size: slices in one call of a network.

    Raises:
        UserError: the run has no such stage, a file of the run is missing, or the datasets do not match.
    """
    body = run_folder.read_record(run.folder)
    settings = body.get("settings", {})
    stage = relearning.find(run_folder.read_history(run.folder), settings, run.modalities, run.folder)
    notes = []
    initial = None
    if body.get("initial_run") and not stage.earlier:
        try:
            initial = Run.load(body["initial_run"]).best
        except UserError:
            notes.append(f"The initial run {body['initial_run']} is missing: there are no scores before the stage.")
    if not stage.finished:
        notes.append("The stage is not finished.")
    gaps = relearning.gaps(stage, run.modalities, run.best, initial, run.labels)
    calibration = None
    if truth is not None:
        calibration = _measured(run, stage, gaps, info, truth, batch_size)
        notes += [_HOW, *([_BATCHES] if stage.settings.teacher_batch_statistics else [])]
        if not stage.last:
            notes.append("A later stage followed: the teachers at the end of this stage are not stored.")
    return {
        "report_version": REPORT_VERSION,
        "command": command,
        "run": {"folder": str(run.folder), "run_hash": run.run_hash, "data_hash": run.data_hash},
        "taught": {
            "stage": stage.number,
            "method": stage.name,
            "epochs_done": len(stage.rows),
            "epochs": settings["epochs"][stage.number],
            "teacher": stage.teacher,
            "named": stage.settings.teacher_modality != "auto",
            "scores": relearning.scores_before(stage, run.modalities, initial),
            "writers": list(stage.writers),
            "label": stage.label_name,
            "network": stage.settings.teacher,
        },
        "gap": gaps,
        "epochs": relearning.epochs(stage),
        "calibration": calibration,
        "notes": notes,
        "versions": report.versions(),
    }


def _measured(run: Run, stage, gaps, info: DatasetInfo, truth: DatasetInfo, batch_size: int) -> dict:
    from semicml_tf.diagnostics import hidden_truth, teachers
    from semicml_tf.system import quiet_import

    data_provenance.require(run, info)
    cases, _ = label_files.labelled_by(stage, run, info)
    entries = hidden_truth.checked(info, truth, cases)
    quiet_import.tensorflow()
    times = teachers.load(run, stage, gaps, batch_size)
    patients = progress.bar(hidden_truth.read(info, truth, cases, entries), total=len(cases), desc="reading labels")
    return {
        "dataset": {"folder": info.location, "data_hash": info.data_hash},
        "truth": {"folder": truth.location, "data_hash": truth.data_hash},
        "batch_size": batch_size,
        "patients": [case.case_id for case in cases],
        "rows": teachers.measure(times, stage, patients),
    }


def write(body: dict, output: pathlib.Path) -> str:
    """Writes the report's files, and returns the text for the screen."""
    with atomic_files.new_directory(output, overwrite=True) as staged:
        atomic_files.write_json(staged / "report.json", body)
        atomic_files.write_text(staged / "report.md", relearning_presentation.report(body))
        if body["calibration"]:
            measured, png = body["calibration"], io.BytesIO()
            relearning_presentation.write_png(png, measured["rows"], len(measured["patients"]))
            atomic_files.write_file(staged / "calibration.png", lambda stream: stream.write(png.getvalue()))
    return relearning_presentation.report(body, bins=False)
