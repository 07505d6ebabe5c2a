"""What a reader in a hurry must know of each network: its mean, who was missed, whether it beats what is blind."""

from __future__ import annotations

from collections.abc import Sequence

from semicml_tf.reporting import columns
from semicml_tf.reporting.markup import Html, element, join, number
from semicml_tf.reporting.run_facts import RunFacts

# Of more runs, the table tells more quickly.
_MOST_RUNS = 3


def _dice(row: dict) -> dict:
    value = row.get("summary", {}).get("dice")
    return value if isinstance(value, dict) and columns.is_number(value.get("mean")) else {}


def _best_blind(run: RunFacts) -> dict | None:
    """The row without a network of the highest mean DSC."""
    blind = [row for row in run.rows if row.get("kind") == "blind" and _dice(row)]
    return max(blind, key=lambda row: _dice(row)["mean"], default=None)


def _counts(summary: dict) -> list[str]:
    found = []
    if columns.is_number(summary.get("missed")) and columns.is_number(summary.get("cases")):
        found.append(f"{summary['missed']} of {summary['cases']} patients missed")
    if summary.get("false_alarms"):
        found.append(f"{summary['false_alarms']} false alarms")
    lesions = summary.get("lesions")
    if isinstance(lesions, dict) and all(columns.is_number(lesions.get(key)) for key in ("found", "true", "false")):
        found.append(f"{lesions['found']} of {lesions['true']} lesions found, {lesions['false']} false ones")
    return found


def _of_network(run: RunFacts, row: dict, several: bool) -> Html | None:
    dice = _dice(row)
    if not dice:
        return None
    ends = columns.interval(dice)
    told = f"mean DSC {number(dice['mean'])}"
    told += f" (95 % interval {number(ends[0])} to {number(ends[1])})" if ends else ""
    told = ", ".join([told, *_counts(row["summary"])]) + ". "
    name = f"{run.name}, {row.get('name')}" if several else str(row.get("name"))
    blind = _best_blind(run)
    if blind is None:
        return element("li", element("b", name), ": ", told)
    read = ((run.metrics or {}).get("blind") or {}).get(blind.get("name"), {}).get("modality")
    other = f"; it reads {read}, which this network does not" if read not in (None, row.get("modality")) else ""
    beside = f"the best row that reads no network ({blind.get('name')}, {number(_dice(blind)['mean'])}{other})"
    if dice["mean"] > _dice(blind)["mean"]:
        return element("li", element("b", name), ": ", told, f"Above {beside}.")
    return element("li", element("b", name), ": ", told, element("b", "Not above "), f"{beside}.", class_="warning")


def lines(runs: Sequence[RunFacts]) -> Html | None:
    """A line for each network; None of many runs, or of runs without scores."""
    if len(runs) > _MOST_RUNS:
        return None
    items = [_of_network(run, row, len(runs) > 1) for run in runs for row in run.networks]
    return element("ul", items, class_="notices headline") if any(items) else None


def _patients(count: int, partition: str) -> str:
    return f"{count} {partition} patients" if count != 1 else f"One {partition} patient, which is no evidence"


def origin(runs: Sequence[RunFacts]) -> Html:
    """Who was scored, and of a run alone how it was trained."""
    patients = {len({case["case_id"] for row in run.rows for case in row["cases"]}) for run in runs if run.rows}
    partition = runs[0].partition
    parts = [_patients(patients.pop(), partition) if len(patients) == 1 else f"Partition '{partition}'"]
    if len(runs) == 1:
        (run,) = runs
        seed = run.record.get("settings", {}).get("seed")
        parts += [
            f"networks for {' and '.join(run.modalities)}",
            f"trained by {run.method}",
            *([f"{run.labelled} labelled patients"] if run.labelled is not None else []),
            *([f"seed {seed}"] if seed is not None else []),
        ]
    else:
        parts.append(f"{len(runs)} runs")
    return join(", ".join(parts), ".")
