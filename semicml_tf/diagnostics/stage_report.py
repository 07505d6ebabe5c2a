"""`FOLDER/evaluation/stages`: DSC of networks and pseudo-labels at the end of each stage, run by run.

Networks are scored on test patients, and on unlabelled patients by the hidden truth of another dataset. Pseudo-labels
are scored on the unlabelled patients.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from semicml_tf.configuration import command_line
from semicml_tf.diagnostics import kept_networks, label_files, relearning, stage_text
from semicml_tf.diagnostics.config import DiagnoseConfig
from semicml_tf.diagnostics.relearning import Relearning
from semicml_tf.errors import UserError
from semicml_tf.evaluation import data_provenance, report
from semicml_tf.evaluation.score_cases import segmented
from semicml_tf.evaluation.segment import CaseSegmenter, by_network, native_masks
from semicml_tf.inference.agreement import dice
from semicml_tf.labels import LabelDefinition
from semicml_tf.records.case_record import CaseRecord
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.runs import run_folder
from semicml_tf.runs.run_folder import Run
from semicml_tf.system import atomic_files, cpu, progress, quiet_import

REPORT_VERSION = 1
FILES = ("report.json", "report.md")
KEPT, FUSED = "kept", "fused"
NETWORK, LABEL = "network", "label"
_CUT = 0.5


@dataclasses.dataclass(frozen=True)
class _Row:
    """A network or a pseudo-label that is scored.

    Attributes:
        kind: `NETWORK` or `LABEL`.
        when: time in the run.
        name: modality of the network or of the only teacher; `FUSED` is the label of all teachers.
        segmenter: maps a record to probabilities.
        thresholds: on the probabilities, by class; {} for exclusive classes.
    """

    kind: str
    when: str
    name: str
    segmenter: CaseSegmenter
    thresholds: Mapping[str, float]


class _Labels:
    """Caches the pseudo-labels of a record for all rows."""

    def __init__(self, writers, stage: Relearning):
        self._writers, self._found = writers, stage
        self._record: CaseRecord | None = None
        self._made: dict[str, np.ndarray] = {}

    def segmenter(self, name: str) -> CaseSegmenter:
        """The segmenter of the label that a modality's teacher writes alone, or of the `FUSED` label."""
        key = self._found.label_name if name == FUSED else name
        return lambda record: self._of(record).get(key)

    def _of(self, record: CaseRecord) -> dict[str, np.ndarray]:
        from semicml_tf.diagnostics import teachers

        if record is not self._record:
            self._record, self._made = record, teachers.labels_alone(self._writers, self._found, record)
        return self._made


def build(runs: Mapping[str, Run], truth: DatasetInfo, config: DiagnoseConfig) -> dict:
    """The contents of `report.json`.

    Args:
        runs: by name; each is read with ``config.dataset``, or with its own dataset.
        truth: dataset with labels of the patients that are unlabelled in the runs' data.

    Raises:
        UserError: a file of a run is missing, or a dataset does not match.
    """
    quiet_import.tensorflow()
    bodies = []
    for name, run in runs.items():
        info = data_provenance.load(run, config)
        data_provenance.require(run, info)
        bodies.append({"name": name, **_of_run(name, run, info, truth, config.batch_size)})
    return {
        "report_version": REPORT_VERSION,
        "command": command_line("semicml_tf.diagnose", config),
        "truth": {"folder": truth.location, "data_hash": truth.data_hash},
        "runs": bodies,
        "pooled": pooled(bodies),
        "versions": report.versions(),
    }


def _of_run(name: str, run: Run, info: DatasetInfo, truth: DatasetInfo, batch_size: int) -> dict:
    from semicml_tf.diagnostics import hidden_truth
    from semicml_tf.records.shards import check_shards, read_cases

    record, history = run_folder.read_record(run.folder), run_folder.read_history(run.folder)
    settings = record.get("settings", {})
    lacking = [key for key in ("method", "epochs") if key not in settings]
    if lacking or not history:
        problem = f"expected {', '.join(lacking) or 'finished epochs'} of the run, got none"
        raise UserError(problem, path=run.folder, remedy="Train it again")
    stage = relearning.search(history, settings, run.modalities)
    cases, entries = list(info.partitions.get("unlabelled", ())), []
    if cases:
        cases = cases if stage is None else label_files.labelled_by(stage, run, info)[0]
        entries = hidden_truth.checked(info, truth, cases)
    tested = info.partitions.get("test", ())
    check_shards(info, ["test"])
    networks = list(_networks(run, settings, history, batch_size))
    labels = [] if stage is None or not cases else list(_label_rows(run, record, stage, batch_size))
    hidden = hidden_truth.read(info, truth, cases, entries)
    scores = _scored([*networks, *labels], hidden, len(cases), "unlabelled", name)
    scores += _scored(networks, read_cases(info, tested), len(tested), "test", name)
    return {
        "run": {"folder": str(run.folder), "run_hash": run.run_hash, "data_hash": run.data_hash},
        "modalities": list(run.modalities),
        KEPT: {name: {key: run.best[name][key] for key in ("stage", "step")} for name in run.modalities},
        LABEL: None if stage is None else _of_stage(stage),
        "scores": scores,
        "comparison": _comparison(scores, stage.teacher) if labels else [],
    }


def _of_stage(stage: Relearning) -> dict:
    settings = stage.settings
    return {
        "stage": stage.number,
        "method": stage.name,
        "finished": stage.finished,
        "better_teacher": stage.teacher,
        "writers": list(stage.writers),
        FUSED: stage.label_name,
        "batch_statistics": settings.teacher_batch_statistics,
    }


def _by_class(cuts: float | Mapping[str, float], labels: LabelDefinition) -> Mapping[str, float]:
    return cuts if isinstance(cuts, Mapping) else {labels.names[0]: cuts}


def _networks(run: Run, settings: Mapping, history: Sequence[relearning.Row], batch_size: int) -> Iterable[_Row]:
    def row(when: str, name: str, network, cuts) -> _Row:
        segmenter = by_network(network, name, run.patch, batch_size, classes=len(run.labels.names))
        return _Row(NETWORK, when, name, segmenter, _by_class(cuts, run.labels))

    for kept in kept_networks.over_time(run, settings):
        last = kept_networks.last_epoch(settings, kept.stage)
        *_, epoch = (row for row in history if int(row["epoch"]) <= last)
        for name, network in kept.networks.items():
            yield row(kept.when, name, network, relearning.thresholds_of(epoch, name, run.labels))
    for name in run.modalities:
        yield row(KEPT, name, run.network(name), run.thresholds(name))


def _label_rows(run: Run, record: run_folder.Record, stage: Relearning, batch_size: int) -> Iterable[_Row]:
    from semicml_tf.diagnostics import teachers

    initial = Run.load(record["initial_run"]).best if record.get("initial_run") and not stage.earlier else None
    gaps = relearning.gaps(stage, run.modalities, run.best, initial, run.labels)
    cuts = {} if run.labels.exclusive else dict.fromkeys(run.labels.names, _CUT)
    for writers in teachers.load(run, stage, gaps, batch_size):
        labels = _Labels(writers, stage)
        for name in (*stage.writers, FUSED):
            yield _Row(LABEL, writers.when, name, labels.segmenter(name), cuts)


def _scored(rows: Sequence[_Row], records: Iterable[CaseRecord], count: int, patients: str, run: str) -> list[dict]:
    """DSC by case of each row; [] without records."""
    if not count:
        return []
    by_name = {f"{row.kind} {row.name}, {row.when}": row for row in rows}
    scores = dice_by_case(
        progress.bar(records, total=count, desc=f"{run}: {patients} patients"),
        {key: row.segmenter for key, row in by_name.items()},
        {key: row.thresholds for key, row in by_name.items()},
        jobs=cpu.available(),
    )
    return [
        {"kind": row.kind, "patients": patients, "when": row.when, "name": row.name, "dice": scores[key]}
        for key, row in by_name.items()
    ]


def dice_by_case(
    records: Iterable[CaseRecord],
    segmenters: Mapping[str, CaseSegmenter],
    thresholds: Mapping[str, Mapping[str, float]],
    *,
    jobs: int = 1,
) -> dict[str, dict[str, float]]:
    """Mean DSC over classes on the patient's own grid, without post-processing and ignored voxels.

    Args:
        records: labelled, read once, one at a time in memory.
        segmenters: by row name. A record for which a segmenter returns None is not scored in that row.
        thresholds: on the probability, by row name and class; {} for exclusive classes.
        jobs: masks that are scored at the same time, on threads.

    Returns:
        DSC by row name and case.

    Raises:
        UserError: a record has no label, or a segmenter's answer is not finite.
    """
    scores: dict[str, dict[str, float]] = {name: {} for name in segmenters}
    with ThreadPoolExecutor(jobs, thread_name_prefix="dice") as pool:
        for record in records:
            waiting = {
                name: pool.submit(_dice, probabilities, record, thresholds[name])
                for name, probabilities in segmented(record, segmenters).items()
            }
            for name, future in waiting.items():
                scores[name][record.case_id] = future.result()
    return scores


def _dice(probabilities: np.ndarray, record: CaseRecord, thresholds: Mapping[str, float]) -> float:
    labels, ignored = record.labels, record.labels.ignored(record.native_label)
    valid = ... if ignored is None else ~ignored
    masks = native_masks(probabilities, record, thresholds, {})
    return float(
        np.mean([dice(mask[valid], labels.mask(record.native_label, class_name)[valid]) for class_name, mask in masks])
    )


def _comparison(scores: Sequence[dict], better: str) -> list[dict]:
    labels: dict[str, dict[str, dict[str, float]]] = {}
    for row in scores:
        if row["kind"] == LABEL:
            labels.setdefault(row["when"], {})[row["name"]] = row["dice"]
    return [{"when": when, **compared(by_name.pop(FUSED), by_name, better)} for when, by_name in labels.items()]


def compared(fused: Mapping[str, float], alone: Mapping[str, Mapping[str, float]], better: str) -> dict:
    """Compares the DSC of the fused label with those of the teachers' own labels.

    Args:
        fused: DSC of the fused label by case.
        alone: DSC of each teacher's own label, by modality and case; a teacher may lack cases.
        better: the modality of the better teacher, by validation.

    Returns:
        ``than_better``: comparison with the better teacher, over the patients who have its modality. ``than_best``:
        comparison with each patient's best teacher by the truth. Both have ``patients``, ``worse`` (number of patients
        in whom the fused label scores lower) and ``mean_gain`` (fused minus teacher).
    """
    best = {case: max(of_case[case] for of_case in alone.values() if case in of_case) for case in fused}
    rows = {}
    for name, other in (("better", alone.get(better, {})), ("best", best)):
        gains = [round(fused[case] - other[case], 9) for case in fused if case in other]
        rows[name] = {
            "patients": len(gains),
            "worse": sum(gain < 0 for gain in gains),
            "mean_gain": float(np.mean(gains)) if gains else None,
        }
    return {"better_teacher": better, "than_better": rows["better"], "than_best": rows["best"]}


def pooled(bodies: Sequence[dict]) -> dict:
    """All runs together: means over all patients of all runs, and sums of the counts.

    A patient who was scored in several runs counts once for each.
    """
    values_by_row: dict[tuple, list[float]] = {}
    for row in (row for body in bodies for row in body["scores"]):
        values_by_row.setdefault((row["kind"], row["patients"], row["when"], row["name"]), []).extend(
            row["dice"].values()
        )
    keys = ("kind", "patients", "when", "name")
    scores = [
        {**dict(zip(keys, key)), "count": len(values), "mean": float(np.mean(values)) if values else None}
        for key, values in values_by_row.items()
    ]
    times: dict[str, list[dict]] = {}
    for row in (row for body in bodies for row in body["comparison"]):
        times.setdefault(row["when"], []).append(row)
    comparison = [
        {"when": when, **{name: _total([row[name] for row in rows]) for name in ("than_better", "than_best")}}
        for when, rows in times.items()
    ]
    return {"scores": scores, "comparison": comparison}


def _total(rows: Sequence[dict]) -> dict:
    patients = sum(row["patients"] for row in rows)
    total = sum(row["patients"] * row["mean_gain"] for row in rows if row["patients"])
    return {
        "patients": patients,
        "worse": sum(row["worse"] for row in rows),
        "mean_gain": total / patients if patients else None,
    }


def write(body: dict, output: pathlib.Path) -> str:
    """Writes the report's files, and returns the text for the screen."""
    text = stage_text.text(body)
    with atomic_files.new_directory(output, overwrite=True) as staged:
        atomic_files.write_json(staged / FILES[0], body)
        atomic_files.write_text(staged / FILES[1], text)
    return text
