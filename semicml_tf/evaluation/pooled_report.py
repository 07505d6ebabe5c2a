"""`metrics.json` of a cross-validation: the patients of all folds in one report.

Each patient is scored by the run that has not seen the patient. `pool` joins the reports of the folds of one repeat.
`mean_over_repeats` joins pooled reports of the same patients, so that each patient counts once. Summaries and intervals
are computed again over all patients.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence

from semicml_tf.errors import UserError
from semicml_tf.evaluation import data_provenance, failures, report
from semicml_tf.evaluation.metrics.case_score import LESIONS, CaseScore, mean_over_classes
from semicml_tf.evaluation.scores import summarise

# Row name of the no-network thresholds if the folds chose different modalities.
THRESHOLD_NAME = "intensity threshold"
_SHARED = ("report_version", "partition", "policy", "surface_tolerance_mm", "failure_dice", "labels")
_REMEDY = "Score all folds with the same flags and the same version"


def pool(reports: Mapping[str, dict], *, command: str, data_hash: str) -> dict:
    """One report of all folds.

    Args:
        reports: of the folds in order, by path of the run.
        command: of the cross-validation.
        data_hash: of the dataset that was split into folds.

    Raises:
        UserError: a patient is in two folds; the folds were scored in different ways, or have different rows.
    """
    bodies = list(reports.values())
    _check_same(reports)
    homes: dict[str, str] = {}
    for place, body in reports.items():
        for patient in report.patients(body):
            if patient in homes:
                raise UserError(
                    f"patient {patient} is scored in two folds, {homes[patient]} and {place}",
                    remedy="Correct the folds: each patient must be tested once",
                )
            homes[patient] = place
    rows = [
        _row(same, [score for row in same for score in report.scores(row)], bodies[0]["failure_dice"])
        for same in zip(*(body["rows"] for body in bodies))
    ]
    folds = [_fold(place, body) for place, body in reports.items()]
    notes = [f"Cross-validation of {len(folds)} folds: each patient is scored by a run that has not seen the patient."]
    return _body(bodies, rows, folds, command, notes, data_hash)


def mean_over_repeats(reports: Sequence[dict], *, command: str) -> dict:
    """One report of several repeats, with the mean of each patient's scores over the repeats.

    The outcome of a patient is ``missed`` if any repeat missed the patient, else ``false alarm`` if any repeat has one.
    Lesions are not counted.

    Args:
        reports: pooled reports of the same patients.
        command: of the cross-validation.

    Raises:
        UserError: the repeats were scored in different ways, or have different rows.
    """
    if len(reports) == 1:
        return {**reports[0], "command": command}
    _check_same({f"repeat {number}": body for number, body in enumerate(reports)})
    rows = []
    for same in zip(*(body["rows"] for body in reports)):
        by_patient: dict[str, list[CaseScore]] = {}
        for row in same:
            for score in report.scores(row):
                by_patient.setdefault(score.case_id, []).append(score)
        uncounted = dict.fromkeys(f"lesions_{name}" for name in LESIONS)
        means = [dataclasses.replace(mean_over_classes(scores), **uncounted) for scores in by_patient.values()]
        rows.append(_row(same, means, reports[0]["failure_dice"]))
    folds = [fold for body in reports for fold in body["folds"]]
    notes = [
        *reports[0]["notes"],
        f"{len(reports)} repeats: each patient counts once, with the mean of the patient's scores over the repeats. "
        "A patient is missed if any repeat missed the patient.",
    ]
    return _body(reports, rows, folds, command, notes, reports[0]["dataset"]["data_hash"])


def _check_same(reports: Mapping[str, dict]) -> None:
    (first_place, first), *others = reports.items()

    def names(body: dict) -> list[tuple]:
        # The threshold's modality is chosen on the labelled patients, who differ between folds.
        return [(row["kind"], row["modality"], row.get("target")) for row in body["rows"]]

    for place, body in others:
        for what in _SHARED:
            if body.get(what) != first.get(what):
                raise UserError(f"{place} and {first_place} differ in {what}", remedy=_REMEDY)
        if names(body) != names(first):
            raise UserError(f"{place} and {first_place} have different rows", remedy=_REMEDY)


def _row(same: Sequence[dict], scores: Sequence[CaseScore], failure_dice: float) -> dict:
    ordered = sorted(scores, key=lambda score: score.case_id)
    names = {row["name"] for row in same}
    return {
        **{key: value for key, value in same[0].items() if key in ("kind", "modality", "target")},
        "name": names.pop() if len(names) == 1 else THRESHOLD_NAME,
        "summary": summarise(ordered),
        "failures": failures.listed(ordered, failure_dice),
        "cases": [dataclasses.asdict(score) for score in ordered],
    }


def _fold(place: str, body: dict) -> dict:
    fields = {name: body[name] for name in ("thresholds", "postprocessing", "blind") if name in body}
    return {
        "run": place,
        "run_hash": body["run"]["run_hash"],
        "data_hash": body["dataset"]["data_hash"],
        "cases": report.patients(body),
        "best": body["run"].get("best", {}),
        **fields,
    }


def _body(
    reports: Sequence[dict], rows: list[dict], folds: list[dict], command: str, notes: list[str], data_hash: str
) -> dict:
    first = reports[0]
    run_hash = hashlib.sha256(json.dumps([fold["run_hash"] for fold in folds]).encode()).hexdigest()
    lacking: dict[str, set[str]] = {}
    for body in reports:
        for modality, cases in body.get("lacking", {}).items():
            lacking.setdefault(modality, set()).update(cases)
    fields = {name: first[name] for name in (*_SHARED, "intervals", "versions", "processor") if name in first}
    return {
        **fields,
        "command": command,
        "run": {"run_hash": run_hash, "data_hash": data_hash},
        # The hash of the whole dataset, not of a fold's view: cross-validations of one dataset can be compared.
        "dataset": {"data_hash": data_hash},
        "lacking": {modality: sorted(cases) for modality, cases in lacking.items()},
        "notes": [*notes, *_common(reports)],
        # Fitted in each fold; see `folds`.
        "blind": {},
        "rows": rows,
        "folds": folds,
    }


def _common(reports: Sequence[dict]) -> list[str]:
    """The notes of the folds, each once, without the notes on folds of one patient."""
    left_out = data_provenance.one_patient_note(1, reports[0]["partition"])
    notes = (note for body in reports if "folds" not in body for note in body["notes"])
    return [note for note in dict.fromkeys(notes) if note not in left_out]
