"""A report as people read it: on the screen, in Markdown, in a spreadsheet."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
from collections.abc import Sequence

from semicml_tf.evaluation import blind
from semicml_tf.evaluation import report as reports
from semicml_tf.evaluation.margin import paired_dice
from semicml_tf.evaluation.metrics import CaseScore
from semicml_tf.evaluation.scores import METRICS

HEADINGS = ("DSC", "PPV", "sensitivity", "HD95 mm", "ASSD mm", "missed", "false alarms")


def _mean_cell(metric: str, value: dict, cases: int) -> str:
    if value["mean"] is None:
        return "undefined"
    digits = 1 if metric.endswith("_mm") else 3
    text = f"{value['mean']:.{digits}f}"
    if value["sd"] is not None:
        text += f" ± {value['sd']:.{digits}f}"
    return text if value["n"] == cases else f"{text} (n={value['n']})"


def cells(summary: dict) -> list[str]:
    """A row's summary as text, in the order of `HEADINGS`."""
    texts = [_mean_cell(metric, summary[metric], summary["cases"]) for metric in METRICS]
    return [*texts, f"{summary['missed']}/{summary['cases']}", f"{summary['false_alarms']}/{summary['cases']}"]


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[column]) for line in (header, *rows)) for column in range(len(header))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip() for line in (header, *rows)]
    return "\n".join([lines[0], "-" * (sum(widths) + 2 * (len(widths) - 1)), *lines[1:]]) + "\n"


def row_title(title: str, row: dict, report: dict) -> str:
    """The row's title, with the number of its patients where some lack what it reads."""
    count = row["summary"]["cases"]
    return title if count == len(reports.patients(report)) else f"{title} (n={count})"


def _method_title(row: dict, report: dict) -> str:
    return row_title(f"{row['name']} network" if row["kind"] == "network" else row["name"], row, report)


def paired_notes(report: dict) -> list[str]:
    """Networks beside rows that were scored on other patients, a line each pair."""
    notes = []
    for network, row in itertools.combinations(report["rows"], 2):
        if network["kind"] != "network" or _same_patients(network, row):
            continue
        own, other, common = paired_dice(network, row)
        who = f"{network['name']} network", f"{row['name']} network" if row["kind"] == "network" else row["name"]
        notes.append(
            f"{who[0]} against {who[1]} on the {common} patients that both have: DSC {own:.3f} against {other:.3f}."
            if common
            else f"{who[0]} and {who[1]} have no patient in common."
        )
    return notes


def _same_patients(first: dict, second: dict) -> bool:
    return {case["case_id"] for case in first["cases"]} == {case["case_id"] for case in second["cases"]}


def blind_notes(report: dict) -> list[str]:
    """How the rows that read no network were fitted, a line each."""
    notes = []
    for name, fitted in report["blind"].items():
        how = (
            f"the ellipsoid inscribed {fitted['margin_mm']:g} mm inside the field of view"
            if name == blind.ELLIPSOID_NAME
            else f"voxels above {fitted['native']:.4g} {fitted['unit']} on {fitted['modality']}"
        )
        notes.append(f"{name}: {how}; fitted on the labelled patients (their DSC {fitted['labelled_dice']:.3f})")
    return notes


def _notes(report: dict) -> list[str]:
    count = len(reports.patients(report))
    return [
        f"Partition '{report['partition']}', {count} patients, each on its own grid; mean ± sd over patients.",
        f"Run {report['run']['run_hash'][:12]}, data {report['dataset']['data_hash'][:12]}.",
        *(f"{note}." for note in blind_notes(report)),
        "Missed (truth, no prediction): DSC, PPV and sensitivity 0, HD95 and ASSD the volume's diagonal.",
        "False alarm (prediction, no truth): DSC and PPV 0, HD95 and ASSD the diagonal. Both empty: DSC 1, 0 mm.",
        *(f"(n=...): patients for whom the number is defined; {text}." for text in _undefined(report)),
        *lacking_notes(report),
        *paired_notes(report),
        *report["notes"],
    ]


def lacking_notes(report: dict) -> list[str]:
    """Who lacks which modality, a line each modality."""
    return [
        f"Without {name}: {', '.join(held)}; rows that read {name} hold the others (n=... after their names)."
        for name, held in report.get("lacking", {}).items()
        if held
    ]


def _undefined(report: dict) -> list[str]:
    if all(row["summary"][metric]["n"] == row["summary"]["cases"] for row in report["rows"] for metric in METRICS):
        return []
    return ["PPV needs truth or prediction, sensitivity needs truth"]


def summary_markdown(report: dict) -> str:
    """The table of methods and its notes, for a README."""
    rows = [[_method_title(row, report), *cells(row["summary"])] for row in report["rows"]]
    return markdown(["method", *HEADINGS], rows) + "\n" + "".join(f"{note}  \n" for note in _notes(report))


def screen(report: dict) -> str:
    """The table of methods, its notes, and the DSC of every patient."""
    titles = [_method_title(row, report) for row in report["rows"]]
    rows = [[title, *cells(row["summary"])] for title, row in zip(titles, report["rows"])]
    methods = _aligned(["method", *HEADINGS], rows)
    header = ["patient", "truth ml", *titles]
    scores = [{score["case_id"]: score for score in row["cases"]} for row in report["rows"]]
    patients = []
    for patient in reports.patients(report):
        truth_ml = next(held[patient]["truth_ml"] for held in scores if patient in held)
        patients.append([patient, f"{truth_ml:.1f}", *(_mark(held.get(patient)) for held in scores)])
    notes = "".join(f"{note}\n" for note in _notes(report))
    return f"{methods}\n{notes}\nDSC of every patient\n{_aligned(header, patients)}"


def _mark(score: dict | None) -> str:
    if score is None:
        return "-"
    return f"{score['dice']:.3f}" + ("" if score["outcome"].startswith("both") else f" {score['outcome']}")


def csv_text(report: dict) -> str:
    """One line per patient and method, with the number of the method's patients; undefined numbers are empty."""
    stream = io.StringIO()
    fields = ["row", "kind", "n", *(field.name for field in dataclasses.fields(CaseScore))]
    writer = csv.DictWriter(stream, fields, lineterminator="\n")
    writer.writeheader()
    for row in report["rows"]:
        for case in row["cases"]:
            writer.writerow({"row": row["name"], "kind": row["kind"], "n": row["summary"]["cases"], **case})
    return stream.getvalue()
