"""A report as people read it: on the screen, in Markdown, in a spreadsheet."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

from semicml_tf.evaluation import failures, trivial_baselines
from semicml_tf.evaluation import report as reports
from semicml_tf.evaluation.baseline_margin import paired_dice
from semicml_tf.evaluation.metrics.case_score import CaseScore
from semicml_tf.evaluation.metrics.catalogue import FURTHER, MAIN, METRICS, digits, title
from semicml_tf.evaluation.scores import WITHOUT
from semicml_tf.system import table_cells as cells_of

HEADINGS = (*map(title, MAIN), "missed", "false alarms")
SPREAD_HEADINGS = (
    "DSC 95 %", "median DSC", "HD95 mm 95 %", "median HD95", "DSC without", "HD95 without", "left out"
)  # fmt: skip


def _mean_cell(metric: str, value: dict, cases: int) -> str:
    if value["mean"] is None:
        return "undefined"
    decimals = digits(metric)
    text = f"{value['mean']:.{decimals}f}"
    if value["sd"] is not None:
        text += f" ± {value['sd']:.{decimals}f}"
    return text if value["n"] == cases else f"{text} (n={value['n']})"


def cells(summary: dict) -> list[str]:
    """A row's summary as text, in the order of `HEADINGS`."""
    texts = [_mean_cell(metric, summary[metric], summary["cases"]) for metric in MAIN]
    return [*texts, f"{summary['missed']}/{summary['cases']}", f"{summary['false_alarms']}/{summary['cases']}"]


def further_headings(tolerance_mm: float) -> tuple[str, ...]:
    """Of `further_cells`."""
    return (*(METRICS[name].heading(tolerance_mm) for name in FURTHER), "lesions found", "false lesions")


def further_cells(summary: dict) -> list[str]:
    """A row's further measures as text; - for measures that the report lacks."""
    texts = [
        _mean_cell(name, summary[name], summary["cases"]) if summary.get(name, {}).get("n") else "-" for name in FURTHER
    ]
    counts = summary["lesions"]
    return [*texts, *((f"{counts['found']}/{counts['true']}", f"{counts['false']}") if counts else ("-", "-"))]


def _interval_cell(metric: str, value: dict) -> str:
    decimals = digits(metric)
    return " to ".join(f"{end:.{decimals}f}" for end in value["interval"]) if value["interval"] else "-"


def _median_cell(metric: str, value: dict) -> str:
    return "-" if value["median"] is None else f"{value['median']:.{digits(metric)}f}"


def spread_cells(summary: dict) -> list[str]:
    """Intervals, medians, and means without the missed and the false alarms, in the order of `SPREAD_HEADINGS`."""
    without = summary[WITHOUT]
    found = []
    for metric in ("dice", "hd95_mm"):
        found += [_interval_cell(metric, summary[metric]), _median_cell(metric, summary[metric])]
    found += [
        "-" if without[metric]["mean"] is None else f"{without[metric]['mean']:.{digits(metric)}f}"
        for metric in ("dice", "hd95_mm")
    ]
    return [*found, str(summary["cases"] - without["cases"])]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of texts and the notes below it, and its writers.

    Attributes:
        headings: of the columns.
        rows: the cells of each row.
        notes: one line each.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def markdown(self) -> str:
        """The table in Markdown."""
        lines = [self.headings, ["---"] * len(self.headings), *self.rows]
        table = "".join("| " + " | ".join(map(cells_of.markdown, line)) + " |\n" for line in lines)
        return table + self._below("".join(f"{cells_of.markdown(note)}  \n" for note in self.notes))

    def screen(self) -> str:
        """The table in columns of equal width."""
        texts = cells_of.aligned([self.headings, *self.rows])
        texts.insert(1, "-" * max(map(len, texts)))
        return "\n".join(texts) + "\n" + self._below("".join(f"{note}\n" for note in self.notes))

    @staticmethod
    def _below(notes: str) -> str:
        return f"\n{notes}" if notes else ""


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table without notes."""
    return Table(headings, rows).markdown()


def score_tables(
    rows: Sequence[tuple[Sequence[str], dict]], first: Sequence[str], notes: Sequence[str], tolerance_mm: float | None
) -> list[Table]:
    """The tables of summaries: means, then spread, then further measures.

    Args:
        rows: the first cells and the summary of each row.
        first: headings of the first cells.
        notes: of the first table.
        tolerance_mm: of the surface DSC; None leaves the further measures out.
    """
    kinds = [(HEADINGS, cells, notes), (SPREAD_HEADINGS, spread_cells, SPREAD_NOTES)]
    if tolerance_mm is not None:
        kinds.append((further_headings(tolerance_mm), further_cells, FURTHER_NOTES))
    return [
        Table((*first, *headings), [[*names, *fill(summary)] for names, summary in rows], below)
        for headings, fill, below in kinds
    ]


def row_title(title: str, row: dict, report: dict) -> str:
    """The row's title, with the number of its patients where some lack what it reads."""
    count = row["summary"]["cases"]
    return title if count == len(reports.patients(report)) else f"{title} (n={count})"


def _name(row: dict) -> str:
    return f"{row['name']} network" if row["kind"] == "network" else row["name"]


def _method_title(row: dict, report: dict) -> str:
    return row_title(_name(row), row, report)


def paired_notes(report: dict) -> list[str]:
    """Networks beside rows that were scored on other patients, a line each pair."""
    notes = []
    for network, row in itertools.combinations(report["rows"], 2):
        if network["kind"] != "network" or _same_patients(network, row):
            continue
        own, other, common = paired_dice(network, row)
        who = _name(network), _name(row)
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
            if name == trivial_baselines.ELLIPSOID_NAME
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
        *(
            f"Failures of {_name(row)}: {failures.sentence(row['failures'], report['failure_dice'])}."
            for row in reports.networks(report)
        ),
        *report["notes"],
    ]


SPREAD_NOTES = (
    "95 %: bootstrap interval of the mean over patients, too narrow for few of them; - for fewer than 5.",
    "without: mean over the patients who are neither missed nor false alarms; all other numbers count these.",
)
FURTHER_NOTES = (
    "volume error: prediction less truth, relative to the truth's volume.",
    "lesions: connected components (26 neighbours); found if at least one voxel is predicted, false if none is true.",
)


def lacking_notes(report: dict) -> list[str]:
    """Who lacks which modality, a line each modality."""
    return [
        f"Without {name}: {', '.join(held)}; rows that read {name} hold the others (n=... after their names)."
        for name, held in report.get("lacking", {}).items()
        if held
    ]


def _undefined(report: dict) -> list[str]:
    if all(row["summary"][metric]["n"] == row["summary"]["cases"] for row in report["rows"] for metric in MAIN):
        return []
    return ["PPV needs truth or prediction, sensitivity needs truth"]


def _tables(report: dict) -> list[Table]:
    rows = [([_method_title(row, report)], row["summary"]) for row in report["rows"]]
    return score_tables(rows, ("method",), _notes(report), report["surface_tolerance_mm"])


def summary_markdown(report: dict) -> str:
    """The tables of methods and their notes, for a README."""
    return "\n".join(table.markdown() for table in _tables(report))


def screen(report: dict) -> str:
    """The tables of methods, their notes, and the DSC of every patient."""
    methods = "\n".join(table.screen() for table in _tables(report))
    headings = ["patient", "truth ml", *(_method_title(row, report) for row in report["rows"])]
    scores = [{score["case_id"]: score for score in row["cases"]} for row in report["rows"]]
    patients = []
    for patient in reports.patients(report):
        truth_ml = next(held[patient]["truth_ml"] for held in scores if patient in held)
        patients.append([patient, f"{truth_ml:.1f}", *(_mark(held.get(patient)) for held in scores)])
    return f"{methods}\nDSC of every patient\n{Table(headings, patients).screen()}"


def _mark(score: dict | None) -> str:
    if score is None:
        return "-"
    return f"{score['dice']:.3f}" + ("" if score["outcome"].startswith("both") else f" {score['outcome']}")


def csv_text(report: dict) -> str:
    """One line per patient and method, with the number of the method's patients; undefined numbers are empty."""
    columns = ["row", "kind", "n", *(field.name for field in dataclasses.fields(CaseScore))]
    rows = (
        {"row": row["name"], "kind": row["kind"], "n": row["summary"]["cases"], **case}
        for row in report["rows"]
        for case in row["cases"]
    )
    return cells_of.csv_text(columns, rows)
