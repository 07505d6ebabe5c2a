"""`metrics.json`: the contents of an evaluation. All tables are written from this file alone."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from annotated_types import MinLen
from typing_extensions import NotRequired, Required, TypedDict

from semicml_tf.evaluation import bootstrap, failures, trivial_baselines
from semicml_tf.evaluation.metrics.case_score import CaseScore
from semicml_tf.evaluation.metrics.catalogue import METRICS, POLICY
from semicml_tf.evaluation.metrics.masks import SURFACE_TOLERANCE_MM
from semicml_tf.evaluation.scores import summarise
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.runs.run_folder import Run
from semicml_tf.system import cpu, json_files
from semicml_tf.system import versions as system_versions
from semicml_tf.system.json_files import Count

FILE_NAME = "metrics.json"
REPORT_VERSION = 2
_REMEDY = "Make it with python -m semicml_tf.evaluate RUN"
_PACKAGES = ("tensorflow", "keras", "numpy", "scipy", "surface-distance")


class Mean(TypedDict):
    """A measure over patients."""

    mean: float | None
    sd: NotRequired[float | None]
    n: NotRequired[Count]
    median: NotRequired[float | None]
    interval: NotRequired[tuple[float, float] | None]


# A report of a later version can have further measures.
Measures = TypedDict("Measures", dict.fromkeys(METRICS, Mean), total=False)


class Summary(Measures, total=False):
    """What `scores.summarise` returns."""

    cases: Required[Count]
    missed: Count
    false_alarms: Count
    lesions: dict[str, int] | None
    without_missed_and_false_alarms: Measures


class Failures(TypedDict, total=False):
    """What `failures.listed` returns."""

    missed: list[str]
    false_alarms: list[str]
    dice_below: list[tuple[str, float]]
    not_finite: list[str]


class Row(TypedDict):
    """The patients of a network or a no-network baseline (`kind` "blind", without `modality`)."""

    name: str
    kind: Literal["network", "blind"]
    modality: str | None
    summary: Summary
    failures: NotRequired[Failures]
    cases: list[CaseScore]


class _Run(TypedDict):
    run_hash: str
    best: NotRequired[dict[str, dict[str, Any]]]


class _Dataset(TypedDict):
    data_hash: str


class Report(TypedDict):
    """What is read of `metrics.json`."""

    report_version: Literal[REPORT_VERSION]
    command: NotRequired[str]
    run: _Run
    dataset: _Dataset
    partition: str
    lacking: NotRequired[dict[str, list[str]]]
    policy: dict[str, str]
    surface_tolerance_mm: float
    failure_dice: float
    notes: list[str]
    blind: dict[str, dict[str, Any]]
    postprocessing: NotRequired[dict[str, str]]
    versions: NotRequired[dict[str, str | None]]
    rows: Annotated[list[Row], MinLen(1)]


def versions() -> dict[str, str | None]:
    """Versions of what a score depends on."""
    return system_versions.versions(*_PACKAGES)


def build(
    *,
    command: str,
    run: Run,
    info: DatasetInfo,
    partition: str,
    batch_size: int,
    results: Mapping[str, Sequence[CaseScore]],
    ellipsoid: trivial_baselines.Ellipsoid,
    threshold: trivial_baselines.Threshold,
    notes: Sequence[str] = (),
    surface_tolerance_mm: float = SURFACE_TOLERANCE_MM,
    failure_dice: float = failures.DICE_BOUND,
) -> dict:
    """The contents of `metrics.json`.

    Args:
        results: by row name, what `score_cases.evaluate_predictions` returned; a name of a modality is a
            network, the other two names are the no-network baselines.
        notes: what a reader of the numbers must know beside the policy.
        surface_tolerance_mm: that the scores' surface DSC was measured at.
        failure_dice: a DSC below it is a failure.
    """
    rows = []
    for name, scores in results.items():
        network = name in run.modalities
        rows.append(
            {
                "name": name,
                "kind": "network" if network else "blind",
                "modality": name if network else None,
                "summary": summarise(scores),
                "failures": failures.listed(scores, failure_dice),
                "cases": [dataclasses.asdict(score) for score in scores],
            }
        )
    return {
        "report_version": REPORT_VERSION,
        "command": command,
        "run": {
            "folder": str(run.folder),
            "run_hash": run.run_hash,
            "data_hash": run.data_hash,
            "window": run.window,
            "width": run.spec.width,
            "best": run.best,
        },
        "dataset": {"folder": info.location, "data_hash": info.data_hash},
        "partition": partition,
        "thresholds": {name: run.threshold(name) for name in run.modalities},
        "batch_size": batch_size,
        "lacking": {
            name: [case.case_id for case in info.cases(partition) if name not in info.modalities_of(case)]
            for name in run.modalities
        },
        "policy": POLICY,
        "surface_tolerance_mm": surface_tolerance_mm,
        "failure_dice": failure_dice,
        "intervals": bootstrap.METHOD,
        "notes": list(notes),
        "blind": {
            trivial_baselines.ELLIPSOID_NAME: dataclasses.asdict(ellipsoid),
            trivial_baselines.threshold_name(threshold.modality): dataclasses.asdict(threshold),
        },
        "versions": versions(),
        "processor": cpu.processor(),
        "rows": rows,
    }


def load(path: str | pathlib.Path) -> dict:
    """Reads a `metrics.json`.

    Raises:
        UserError: it is missing, of another version, or a field is missing or wrong.
    """
    what = "the metrics of an evaluated run"
    body = json_files.read(path, Report, what=what, remedy=_REMEDY, max_bytes=json_files.MAX_BYTES_OF_CASES)
    for name, fitted in body["blind"].items():
        schema = (
            trivial_baselines.Ellipsoid if name == trivial_baselines.ELLIPSOID_NAME else trivial_baselines.Threshold
        )
        json_files.of_value(fitted, schema, what=f"{what} with '{name}'", path=path, remedy=_REMEDY)
    return body


def scores(row: dict) -> list[CaseScore]:
    """A row's scores. Measures that the report lacks are None."""
    names = [field.name for field in dataclasses.fields(CaseScore)]
    return [CaseScore(**{name: case[name] for name in names if name in case}) for case in row["cases"]]


def shared_policy(first: dict, other: dict) -> tuple[dict, dict]:
    """The definitions of the measures that both reports have: equal for reports that can be compared."""
    own, others = ({**body["policy"], "surface_tolerance_mm": body["surface_tolerance_mm"]} for body in (first, other))
    return {key: own[key] for key in own if key in others}, {key: others[key] for key in others if key in own}


def patients(report: dict) -> list[str]:
    """All patients with a score in any row, in the partition's order. A row lacks patients without its modality."""
    longest = max(report["rows"], key=lambda row: len(row["cases"]))
    return list(dict.fromkeys(case["case_id"] for row in (longest, *report["rows"]) for case in row["cases"]))


def networks(report: dict) -> list[dict]:
    """The rows of networks."""
    return [row for row in report["rows"] if row["kind"] == "network"]


def baselines(report: dict) -> list[dict]:
    """The rows of the no-network baselines."""
    return [row for row in report["rows"] if row["kind"] == "blind"]
