"""`RUN/evaluation/labels`: the soft labels that a run's students learned from, as NIfTI files."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
from typing_extensions import TypedDict

from semicml_tf.diagnostics import relearning
from semicml_tf.diagnostics.relearning import Relearning
from semicml_tf.evaluation import data_provenance, report
from semicml_tf.input.complete_cases import training_cases
from semicml_tf.records.dataset import CaseEntry, DatasetInfo
from semicml_tf.runs import run_folder
from semicml_tf.runs.run_folder import Run
from semicml_tf.runs.settings import recorded_flags
from semicml_tf.system import atomic_files, json_files, progress, quiet_import

FILE_NAME = "provenance.json"
_HOW = (
    "A label is the teachers' map of whole slices in one pass, at the start of the stage. It has no noise, dropout, "
    "repeated passes or augmentation, even if training had them. Teachers that are moving averages change later."
)


class _Teacher(TypedDict):
    run_hash: str


class _Case(TypedDict):
    case_id: str
    file: str


class Provenance(TypedDict):
    """The fields of `provenance.json` that are read."""

    label: str
    teacher: _Teacher
    cases: list[_Case]


def read(folder: pathlib.Path) -> Provenance:
    """Reads the provenance of the soft labels in a folder.

    Raises:
        UserError: `provenance.json` cannot be read, or a field is missing or wrong.
    """
    return json_files.read(
        folder / FILE_NAME,
        Provenance,
        what="soft labels of a run",
        remedy="Write them with python -m semicml_tf.diagnose RUN labels",
        max_bytes=json_files.MAX_BYTES_OF_CASES,
    )


def labelled_by(stage: Relearning, run: Run, info: DatasetInfo) -> tuple[list[CaseEntry], list[CaseEntry]]:
    """The unlabelled cases that the stage's teachers labelled in training, and the other unlabelled cases.

    Raises:
        UserError: the data have no unlabelled case, or the run dropped all unlabelled cases.
    """
    incomplete_cases = recorded_flags(run_folder.read_record(run.folder)).get("incomplete_cases", "use")
    training = training_cases(info, ("unlabelled",), incomplete_cases)
    used = [case for case in training if set(info.modalities_of(case)) & set(stage.writers)]
    return used, [case for case in info.cases("unlabelled") if case not in used]


def write(run: Run, info: DatasetInfo, output: pathlib.Path, *, command: str, batch_size: int = 16) -> dict:
    """Writes ``CASE_soft_label.nii.gz`` of each unlabelled patient, and the labels' provenance.

    Several classes have one file each, ``CASE_CLASS_soft_label.nii.gz``. Files contain probabilities, float32 in
    [0, 1], on the record's grid. Patients whom training dropped, or who lack all images of the teachers, have no file.

    Args:
        run: with a stage that learned from a teacher's labels; it may have started from another run.
        info: the run's own dataset.
        output: folder; it is replaced.
        command: the command line that writes the labels again.
        batch_size: slices in one call of a network.

    Returns:
        The contents of `provenance.json`: run and hash of student and teacher, data, settings, cases.

    Raises:
        UserError: the run has no such stage, a file of it is missing, or the data are not the run's own.
    """
    from semicml_tf.diagnostics import teachers
    from semicml_tf.files.nifti.writer import write_on_grid
    from semicml_tf.records.shards import check_shards, read_cases
    from semicml_tf.records.to_nifti import file_stem

    data_provenance.require(run, info)
    body = run_folder.read_record(run.folder)
    stage = relearning.find(run_folder.read_history(run.folder), body.get("settings", {}), run.modalities, run.folder)
    # Without earlier stages, the teachers come from the initial run.
    initial = Run.load(body["initial_run"]) if body.get("initial_run") and not stage.earlier else None
    gaps = relearning.gaps(stage, run.modalities, run.best, initial.best if initial else None, run.labels)
    cases, lacking = labelled_by(stage, run, info)
    check_shards(info, ["unlabelled"])
    quiet_import.tensorflow()
    before = teachers.load(run, stage, gaps, batch_size)[0]
    written = []
    with atomic_files.new_directory(output, overwrite=True) as staged:
        records = progress.bar(read_cases(info, cases), total=len(cases), desc="writing labels", disable=not cases)
        for record in records:
            # The last label is the fusion of the maps.
            *_, label = teachers.labels(before, stage, record).values()
            several = len(run.labels.names) > 1
            for class_name, of_class in zip(run.labels.names, label):
                middle = f"_{class_name}" if several else ""
                name = f"{file_stem(record.case_id)}{middle}_soft_label.nii.gz"
                write_on_grid(staged / name, np.asarray(of_class, np.float32), record.grid)
                entry = {"case_id": record.case_id, **({"class": class_name} if several else {}), "file": name}
                written.append({**entry, "foreground": float(np.mean(of_class >= np.float32(0.5)))})
        provenance = {
            "command": command,
            "label": stage.label_name,
            "how": _HOW,
            "run": {"folder": str(run.folder), "run_hash": run.run_hash},
            "teacher": {
                "modalities": list(stage.writers),
                "stronger": stage.teacher,
                "network": stage.settings.teacher,
                **({"fusion": before.fusion.state()} if before.fusion else {}),
                "thresholds": {name: before.thresholds[name] for name in stage.writers},
                "run": None if initial is None else str(initial.folder),
                "run_hash": run.run_hash if initial is None else initial.run_hash,
                "validation_dice": relearning.scores_before(stage, run.modalities, initial.best if initial else None),
            },
            "data": {"dataset": info.location, "data_hash": info.data_hash},
            "settings": dataclasses.asdict(stage.settings),
            "left_out": [case.case_id for case in lacking],
            "cases": written,
            "versions": report.versions(),
        }
        atomic_files.write_json(staged / FILE_NAME, provenance)
    return provenance
