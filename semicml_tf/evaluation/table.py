"""Writes a report as text for the screen, as Markdown and as CSV."""

from __future__ import annotations

import dataclasses
import itertools

from semicml_tf import labels_file
from semicml_tf.evaluation import failures, score_table, trivial_baselines
from semicml_tf.evaluation import report as reports
from semicml_tf.evaluation.baseline_margin import paired_dice
from semicml_tf.evaluation.metrics.case_score import CaseScore
from semicml_tf.evaluation.metrics.catalogue import MAIN
from semicml_tf.system.tables import Table, csv_text

MEAN_OF_CLASSES = "mean of classes"


def row_title(title: str, row: dict, report: dict) -> str:
    """The row's title; with the number of its patients, if some patients lack the row's modality."""
    count = row["summary"]["cases"]
    return title if count == len(reports.patients(report)) else f"{title} (n={count})"


def _name(row: dict) -> str:
    return f"{row['name']} network" if row["kind"] == "network" else row["name"]


def class_title(row: dict) -> str:
    """The class of a row of a report with several classes."""
    return row.get("target") or MEAN_OF_CLASSES


def paired_notes(report: dict) -> list[str]:
    """Comparisons of each network with rows that were scored on other patients, one line per pair."""
    notes = []
    for network, row in itertools.combinations(reports.rows(report), 2):
        if network["kind"] == "blind" or _same_patients(network, row):
            continue
        dice, other_dice, common = paired_dice(network, row)
        first, second = _name(network), _name(row)
        notes.append(
            f"{first} against {second} on their {common} common patients: DSC {dice:.3f} against {other_dice:.3f}."
            if common
            else f"{first} and {second} have no patient in common."
        )
    return notes


def _same_patients(first: dict, second: dict) -> bool:
    return {case["case_id"] for case in first["cases"]} == {case["case_id"] for case in second["cases"]}


def baseline_notes(report: dict) -> list[str]:
    """How the no-network baselines were fitted, one line per baseline."""
    notes, several = [], bool(reports.targets(report))
    for name, by_class in report["blind"].items():
        for class_name, fitted in (by_class if several else {"": by_class}).items():
            definition = (
                f"the ellipsoid inscribed {fitted['margin_mm']:g} mm inside the field of view"
                if name == trivial_baselines.ELLIPSOID_NAME
                else f"voxels above {fitted['native']:.4g} {fitted['unit']} on {fitted['modality']}"
            )
            title = f"{name}, {class_name}" if several else name
            notes.append(
                f"{title}: {definition}; fitted on the labelled patients (their DSC {fitted['labelled_dice']:.3f})"
            )
    return notes


def class_notes(report: dict) -> list[str]:
    """The target, and the definition of rows over all classes; [] for a plain target."""
    if not report.get("labels"):
        return []
    labels = labels_file.of_value(report["labels"], what="the classes")
    notes = [f"Target: {labels.described()}."]
    if labels.ignore_value is not None:
        notes.append("Ignored voxels count in no number: they are removed from truth and prediction.")
    if reports.targets(report):
        notes.append(
            f"Rows '{MEAN_OF_CLASSES}': in each patient the mean over the classes with a defined number; lesions are "
            "sums. A patient is missed if any class is missed, else a false alarm if any class is."
        )
    return notes


def source_note(report: dict) -> str:
    """What was scored: the run, or the masks of another tool."""
    if "run" in report:
        return f"Run {report['run']['run_hash'][:12]}"
    source = report["masks"]
    files = sum(len(of_case) for of_case in source["files"].values())
    modality = f"on {source['modality']}" if source["modality"] else "of no single modality"
    return f"Masks of '{source['name']}' {modality} ({files} files)"


def _notes(report: dict) -> list[str]:
    count = len(reports.patients(report))
    return [
        f"Partition '{report['partition']}', {count} patients, each on its own grid; mean ± sd over patients.",
        f"{source_note(report)}, data {report['dataset']['data_hash'][:12]}.",
        *class_notes(report),
        *(f"{note}." for note in baseline_notes(report)),
        "Missed (truth, no prediction): DSC, PPV and sensitivity 0, HD95 and ASSD the volume's diagonal.",
        "False alarm (prediction, no truth): DSC and PPV 0, HD95 and ASSD the diagonal. Both empty: DSC 1, 0 mm.",
        *(f"(n=...): patients for whom the number is defined; {text}." for text in _undefined(report)),
        *lacking_notes(report),
        *paired_notes(report),
        *(
            f"Failures of {failed_name(_name(row), row)}: {failures.sentence(row['failures'], report['failure_dice'])}."
            for row in failing_rows(report)
        ),
        *report["notes"],
    ]


def failing_rows(report: dict) -> list[dict]:
    """The rows whose failures are listed: all except baselines; with several classes, the rows of each class."""
    return [row for target in reports.targets(report) or (None,) for row in reports.methods(report, target)]


def failed_name(name: str, row: dict) -> str:
    """A row's name, followed by its class if the row has one."""
    return f"{name}, {row['target']}" if row.get("target") else name


def lacking_notes(report: dict) -> list[str]:
    """The patients who lack a modality, one line per modality."""
    return [
        f"Without {name}: {', '.join(patients)}; rows that read {name} have the other patients (n=... in the name)."
        for name, patients in report.get("lacking", {}).items()
        if patients
    ]


def _undefined(report: dict) -> list[str]:
    if all(row["summary"][metric]["n"] == row["summary"]["cases"] for row in report["rows"] for metric in MAIN):
        return []
    return ["PPV needs truth or prediction, sensitivity needs truth"]


def _tables(report: dict) -> list[Table]:
    several = bool(reports.targets(report))
    rows = [
        ([row_title(_name(row), row, report), *([class_title(row)] if several else [])], row["summary"])
        for row in report["rows"]
    ]
    first = ("method", "class") if several else ("method",)
    return score_table.tables(rows, first, _notes(report), report["surface_tolerance_mm"])


def summary_markdown(report: dict) -> str:
    """The tables of methods and their notes in Markdown."""
    return "\n".join(table.markdown() for table in _tables(report))


def screen(report: dict) -> str:
    """The tables of methods, their notes, and the DSC of every patient."""
    methods = "\n".join(table.screen() for table in _tables(report))
    several = reports.targets(report)
    rows = reports.rows(report)
    headings = ["patient", *(["class"] if several else []), "truth ml"]
    headings += [row_title(_name(row), row, report) for row in rows]
    scores = {
        target: [{score["case_id"]: score for score in row["cases"]} for row in reports.rows(report, target)]
        for target in several or (None,)
    }
    patients = []
    for patient in reports.patients(report):
        for target, of_target in scores.items():
            of_rows = [by_patient.get(patient) for by_patient in of_target]
            truth_ml = next(score["truth_ml"] for score in of_rows if score)
            names = [patient, target] if several else [patient]
            patients.append([*names, f"{truth_ml:.1f}", *map(_dice_and_outcome, of_rows)])
    return f"{methods}\nDSC of every patient\n{Table(headings, patients).screen()}"


def _dice_and_outcome(score: dict | None) -> str:
    if score is None:
        return "-"
    return f"{score['dice']:.3f}" + ("" if score["outcome"].startswith("both") else f" {score['outcome']}")


def scores_csv(report: dict) -> str:
    """One line per patient and row, with the number of the row's patients `n`. Undefined numbers are empty.

    With several classes there is a column for the class.
    """
    several = bool(reports.targets(report))
    columns = ["row", "kind", *(["class"] if several else []), "n"]
    columns += [field.name for field in dataclasses.fields(CaseScore)]
    rows = (
        {
            "row": row["name"],
            "kind": row["kind"],
            **({"class": class_title(row)} if several else {}),
            "n": row["summary"]["cases"],
            **case,
        }
        for row in report["rows"]
        for case in row["cases"]
    )
    return csv_text(columns, rows)
