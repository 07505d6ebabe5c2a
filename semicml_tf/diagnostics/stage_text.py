"""Writes the report on the stages as Markdown: tables with a row per run, and a row of all runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from semicml_tf.system.tables import Table

_POOLED = "all runs"
_TIMES = {"before": "at the start of the stage", "after": "at the end of the stage", "so far": "in the last checkpoint"}
_NOTES = (
    "Masks are scored on the patient's own grid, without post-processing. With several classes, DSC is the mean over "
    "classes. The last row has the mean over the patients of all runs. A patient who was scored in several runs counts "
    "in each.",
    "Networks are thresholded as chosen on validation at that time. 'kept' is the network with the best validation "
    "DSC, which export publishes.",
    "A label is the map of whole slices in one pass, without noise, dropout, repeated passes or augmentation, even if "
    "training had them. 'Alone' is the label that the run's settings make from the map of one teacher. Labels are "
    "thresholded at 0.5. For exclusive classes, the largest probability counts.",
    "The better teacher is that of the modality with the best validation DSC at the start of the stage, or of "
    "--teacher_modality. The best teacher of a patient is known only from the hidden truth.",
)
_BATCHES = (
    "Some teachers normalise by the statistics of a batch. Here a batch has consecutive slices of one patient, in "
    "training it has the windows of a step."
)


def text(body: dict) -> str:
    """The report in Markdown."""
    runs = body["runs"]
    parts = ["# DSC of networks and pseudo-labels, stage by stage\n"]
    for patients, heading in (
        ("test", "Networks on test patients"),
        ("unlabelled", "Networks on unlabelled patients, by their hidden truth"),
    ):
        rows = _table(body, "network", patients)
        parts += [f"## {heading}\n", rows] if rows else []
    for when in dict.fromkeys(row["when"] for run in runs for row in run["comparison"]):
        parts += [f"## Labels of unlabelled patients {_TIMES[when]}\n", _labels(body, when)]
    if not any(run["label"] for run in runs):
        parts.append("No run has a stage that learned from a teacher's labels.\n")
    parts += ["## Networks that were kept\n", *(f"* {_kept(run)}" for run in runs)]
    notes = [*_NOTES, *([_BATCHES] if any(run["label"] and run["label"]["batch_statistics"] for run in runs) else [])]
    parts += ["", *(f"{note}\n" for note in notes)]
    parts.append(f"Truth: data hash {body['truth']['data_hash'][:12]}. Made by `{body['command']}`.")
    return "\n".join(parts) + "\n"


def _mean(values: Iterable[float]) -> str:
    values = list(values)
    return f"{np.mean(values):.3f}" if values else "-"


def _number(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.3f}"


def _table(body: dict, kind: str, patients: str) -> str:
    """A column per modality and time; "" if nothing was scored."""

    def of(rows: Sequence[dict]) -> dict[tuple[str, str], dict]:
        return {(row["name"], row["when"]): row for row in rows if (row["kind"], row["patients"]) == (kind, patients)}

    total = of(body["pooled"]["scores"])
    # Sorted by modality, then by time.
    columns = sorted(total, key=lambda column: list(dict.fromkeys(name for name, _ in total)).index(column[0]))
    lines = []
    for run in body["runs"]:
        rows = of(run["scores"])
        count = len({case for row in rows.values() for case in row["dice"]})
        lines.append(
            [
                run["name"],
                str(count),
                *(_mean(rows[column]["dice"].values()) if column in rows else "-" for column in columns),
            ]
        )
    if not columns:
        return ""
    if len(lines) > 1:
        count = max(row["count"] for row in total.values())
        lines.append([_POOLED, str(count), *(_number(total[column]["mean"]) for column in columns)])
    return Table(["run", "patients", *(f"{name}, {when}" for name, when in columns)], lines).markdown()


def _labels(body: dict, when: str) -> str:
    names = list(dict.fromkeys(row["name"] for row in body["pooled"]["scores"] if row["kind"] == "label"))
    names = [*(name for name in names if name != "fused"), "fused"]

    def line(title: str, scores: dict[str, str], comparison: dict, better: str) -> list[str]:
        pairs = [comparison[name] for name in ("than_better", "than_best")]
        counts = [f"{pair['worse']} of {pair['patients']} ({_number(pair['mean_gain'], '+')})" for pair in pairs]
        return [title, *(scores.get(name, "-") for name in names), better, *counts]

    lines = []
    for run in body["runs"]:
        scores = {
            row["name"]: _mean(row["dice"].values())
            for row in run["scores"]
            if (row["kind"], row["when"]) == ("label", when)
        }
        lines += [
            line(run["name"], scores, row, row["better_teacher"]) for row in run["comparison"] if row["when"] == when
        ]
    if len(lines) > 1:
        (total,) = (row for row in body["pooled"]["comparison"] if row["when"] == when)
        scores = {
            row["name"]: _number(row["mean"])
            for row in body["pooled"]["scores"]
            if (row["kind"], row["when"]) == ("label", when)
        }
        lines.append(line(_POOLED, scores, total, ""))
    headings = [name if name == "fused" else f"{name} alone" for name in names]
    further = ["better teacher", "fused worse than the better teacher (mean gain)", "than the patient's best teacher"]
    return Table(["run", *headings, *further], lines).markdown()


def _kept(run: dict) -> str:
    parts = [f"{name} of {network['stage']}, step {network['step']}" for name, network in run["kept"].items()]
    return f"{run['name']}: {'; '.join(parts)}"
