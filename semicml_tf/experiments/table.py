"""The experiment's CSV files: the scores of all patients, and the lines of the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from semicml_tf.experiments.results import MEAN, Results
from semicml_tf.experiments.summary import METRICS, Line
from semicml_tf.system import tables

_SCORES = ("dice", "ppv", "sensitivity", "hd95_mm", "assd_mm", "outcome")


def scores_csv(results: Results) -> str:
    """One line per cell, modality, class and test patient; "mean" is a patient's mean over the classes.

    The no-network baselines have one line per set of modalities and test patient, with the seed of the set's first
    cell and without a modality. Undefined scores are empty.
    """
    rows = []
    targets = results.targets

    def add(result, row, kind, modality, cases, target):
        fold_of = {name: fold for fold, names in enumerate(result.folds) for name in names}
        head = {
            "modalities": "+".join(result.cell.modalities),
            "row": row,
            "kind": kind,
            "labelled": result.cell.labelled,
        }
        head |= {"seed": result.cell.seed, "modality": modality}
        head |= {"class": target or MEAN} if targets else {}
        rows.extend(
            {
                **head,
                "patient": patient,
                **({"fold": fold_of[patient]} if fold_of else {}),
                **{name: getattr(score, name) for name in _SCORES},
            }
            for patient, score in cases.items()
        )

    for target in (None, *targets):
        results_of_target = results if target is None else results.of_class(target)
        for modalities in results.modality_sets:
            done = results_of_target.of_set(modalities)
            for result in done:
                for modality in modalities:
                    add(result, result.cell.row, "network", modality, result.scores[modality], target)
            for name, cases in done[0].baselines.items():
                add(done[0], name, "blind", "", cases, target)
    place = ["seed", "modality", *(["class"] if targets else []), "patient", *(["fold"] if results.has_folds else [])]
    return tables.csv_text(["modalities", "row", "kind", "labelled", *place, *_SCORES], rows)


def _column(metric: str) -> str:
    return {"missed": "missed_rate", "false alarm": "false_alarm_rate"}.get(metric, metric)


def record(line: Line) -> dict[str, Any]:
    """The columns of a line by name; None where a number is undefined."""
    spread = line.metrics["dice"]
    body: dict[str, Any] = {
        "modalities": "+".join(line.modalities),
        "row": line.row,
        "kind": line.kind,
        "labelled": line.labelled,
        "labelled_patients": line.labelled_patients,
        "modality": line.modality,
        "seeds": len(line.seeds),
        "patients": spread.patients,
        "dice": spread.mean,
        "dice_sd_seeds": spread.sd_seeds,
        "dice_sd_patients": spread.sd_patients,
    }
    body |= {_column(name): line.metrics[name].mean for name in METRICS if name != "dice"}
    against, gap, saved = line.against, line.gap, line.saved
    return body | {
        "difference_to_reference": against and against.difference,
        "difference_low": against and against.interval and against.interval[0],
        "difference_high": against and against.interval and against.interval[1],
        "p_wilcoxon": against and against.p,
        "p_holm": against and against.p_holm,
        "patients_compared": against and against.patients,
        "patients_differing": against and against.differing,
        "patients_reference_wins": against and against.reference_patients,
        "seeds_compared": against and against.seeds,
        "seeds_reference_wins": against and against.reference_wins,
        "gap_closed": gap and gap.closed,
        "gap_seeds": gap and gap.seeds,
        "labels_needed": saved and saved.needed,
        "labels_saved": saved and saved.saved,
        "labels_bound": saved and saved.bound,
        "labels_seeds": saved and saved.seeds,
    }


def _with(row: dict[str, Any], after: str, name: str, value: Any) -> dict[str, Any]:
    """The row with a further column behind the column `after`."""
    extended: dict[str, Any] = {}
    for key, former in row.items():
        extended[key] = former
        if key == after:
            extended[name] = value
    return extended


def table_csv(lines: Sequence[Line]) -> str:
    """One line per set of modalities, row, labelled count and modality; "mean" is a patient's mean over the set.

    With several classes, there is a column for the class, where "mean" is a patient's mean over the classes.
    """
    rows = [record(line) for line in lines]
    if any(line.target for line in lines):
        rows = [_with(row, "modality", "class", line.target or MEAN) for row, line in zip(rows, lines)]
    if any(line.sd_folds is not None for line in lines):
        rows = [_with(row, "dice_sd_patients", "dice_sd_folds", line.sd_folds) for row, line in zip(rows, lines)]
    return tables.csv_text(list(rows[0]), rows)
