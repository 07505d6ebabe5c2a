"""`metrics.json`: the contents of an evaluation. All tables are written from this file alone.

There is a row per network, or one row of another tool's masks, and a row per no-network baseline. With several classes
or regions, this row is the mean over them. A row per class follows, whose `target` names the class. `targets` lists the
classes that have a row; it is empty for a single class.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from annotated_types import MinLen
from typing_extensions import NotRequired, Required, TypedDict

from semicml_tf.errors import UserError
from semicml_tf.evaluation import bootstrap, failures, trivial_baselines
from semicml_tf.evaluation.metrics.case_score import CaseScore, mean_over_classes
from semicml_tf.evaluation.metrics.catalogue import METRICS, POLICY
from semicml_tf.evaluation.metrics.masks import SURFACE_TOLERANCE_MM
from semicml_tf.evaluation.scores import summarise
from semicml_tf.inference.averaging import BY_DEFAULT, Averaging, AveragingRecord
from semicml_tf.labels import LabelDefinition
from semicml_tf.labels_file import LabelFile
from semicml_tf.postprocessing.steps import Postprocessing
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.runs.run_folder import Run
from semicml_tf.system import cpu, json_files
from semicml_tf.system import versions as system_versions
from semicml_tf.system.json_files import Count

FILE_NAME = "metrics.json"
PLAIN_VERSION, REPORT_VERSION = 2, 3  # of a plain target, and of labels with names
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
    """The fields that `scores.summarise` returns."""

    cases: Required[Count]
    missed: Count
    false_alarms: Count
    lesions: dict[str, int] | None
    without_missed_and_false_alarms: Measures


class Failures(TypedDict, total=False):
    """The fields that `failures.listed` returns."""

    missed: list[str]
    false_alarms: list[str]
    dice_below: list[tuple[str, float]]
    not_finite: list[str]


class Row(TypedDict):
    """The scores of a network, of another tool's masks or of a no-network baseline (`kind` "blind").

    Masks have a `modality` only if they were drawn on this modality alone. Baselines have no modality. `target` is a
    class. It is None or missing for a mean over all classes and for a single class.
    """

    name: str
    kind: Literal["network", "masks", "blind"]
    modality: str | None
    target: NotRequired[str | None]
    summary: Summary
    failures: NotRequired[Failures]
    cases: list[CaseScore]


class _Run(TypedDict):
    run_hash: str
    best: NotRequired[dict[str, dict[str, Any]]]


class MaskSource(TypedDict):
    """The masks of another tool that were scored instead of a run.

    `files` has the SHA-256 of each file by case and class; the class is "" for a file with all classes. `missing` lists
    cases without a file. `values` has the values of each class.
    """

    name: str
    modality: str | None
    folder: NotRequired[str]
    values: NotRequired[dict[str, list[int]]]
    files: dict[str, dict[str, str]]
    missing: list[str]


class _Dataset(TypedDict):
    data_hash: str


class Fold(TypedDict):
    """One of the runs of a pooled report; see `pooled_report`."""

    run: str
    run_hash: str
    data_hash: str
    cases: list[str]
    best: NotRequired[dict[str, dict[str, Any]]]
    blind: dict[str, dict[str, Any]]


class Report(AveragingRecord):
    """The fields of `metrics.json` that are read."""

    report_version: Literal[PLAIN_VERSION, REPORT_VERSION]
    command: NotRequired[str]
    # Exactly one of the next two fields: a report is of a run, or of another tool's masks.
    run: NotRequired[_Run]
    masks: NotRequired[MaskSource]
    dataset: _Dataset
    labels: NotRequired[LabelFile]  # missing for a plain target
    partition: str
    lacking: NotRequired[dict[str, list[str]]]
    policy: dict[str, str]
    surface_tolerance_mm: float
    failure_dice: float
    notes: list[str]
    blind: dict[str, dict[str, Any]]  # by row name; with several classes also by class
    postprocessing: NotRequired[dict[str, str | dict[str, str]]]
    versions: NotRequired[dict[str, str | None]]
    folds: NotRequired[list[Fold]]  # only in reports of a cross-validation
    rows: Annotated[list[Row], MinLen(1)]


def versions() -> dict[str, str | None]:
    """Versions of the packages that scores depend on."""
    return system_versions.versions(*_PACKAGES)


def build(
    *,
    command: str,
    run: Run,
    info: DatasetInfo,
    partition: str,
    batch_size: int,
    averaging: Averaging = BY_DEFAULT,
    results: Mapping[str, Mapping[str, Sequence[CaseScore]]],
    fitted: Mapping[str, Mapping[str, trivial_baselines.Fitted]],
    postprocessing: Mapping[str, Mapping[str, Postprocessing]],
    notes: Sequence[str] = (),
    surface_tolerance_mm: float = SURFACE_TOLERANCE_MM,
    failure_dice: float = failures.DICE_BOUND,
) -> dict:
    """The contents of `metrics.json`.

    Args:
        averaging: flips and overlap of the networks.
        results: from `score_cases.evaluate_predictions`, by row name and class. Rows with the name of a modality are
            networks. The other two rows are the no-network baselines.
        fitted: the no-network baselines by row name and class.
        postprocessing: of the networks' masks, by modality and class.
        notes: further notes for readers of the scores.
        surface_tolerance_mm: tolerance of the surface DSC in `results`.
        failure_dice: a lower DSC is a failure.
    """
    labels = run.labels
    rows = []
    for name, of_classes in results.items():
        kind, modality = ("network", name) if name in run.modalities else ("blind", None)
        rows += _rows_of(labels, name, kind, modality, of_classes, failure_dice)
    return {
        **_head(labels, command),
        "run": {
            "folder": str(run.folder),
            "run_hash": run.run_hash,
            "data_hash": run.data_hash,
            "window": run.window,
            "width": run.spec.width,
            "best": run.best,
        },
        **_data(info, labels, partition),
        "thresholds": {name: _by_class(labels, run.thresholds(name)) for name in run.modalities},
        "batch_size": batch_size,
        **averaging.record,
        "lacking": _lacking(info, partition, run.modalities),
        **_definitions(labels, notes, fitted, surface_tolerance_mm, failure_dice),
        "rows": rows,
        "postprocessing": {
            name: _by_class(labels, {class_name: str(steps) for class_name, steps in of_classes.items()})
            for name, of_classes in postprocessing.items()
        },
    }


def build_of_masks(
    *,
    command: str,
    source: MaskSource,
    info: DatasetInfo,
    partition: str,
    scores: Mapping[str, Sequence[CaseScore]],
    results: Mapping[str, Mapping[str, Sequence[CaseScore]]],
    fitted: Mapping[str, Mapping[str, trivial_baselines.Fitted]],
    notes: Sequence[str],
    surface_tolerance_mm: float,
    failure_dice: float,
) -> dict:
    """The contents of `metrics.json` of another tool's masks.

    Args:
        source: the masks.
        scores: of the masks, by class.
        results: of the no-network baselines, by row name and class.
        fitted, notes, surface_tolerance_mm, failure_dice: as in `build`.
    """
    labels, modality = info.labels, source["modality"]
    rows = _rows_of(labels, source["name"], "masks", modality, scores, failure_dice)
    for name, of_classes in results.items():
        rows += _rows_of(labels, name, "blind", None, of_classes, failure_dice)
    return {
        **_head(labels, command),
        "masks": source,
        **_data(info, labels, partition),
        "lacking": _lacking(info, partition, [modality] if modality else []),
        **_definitions(labels, notes, fitted, surface_tolerance_mm, failure_dice),
        "rows": rows,
    }


def _head(labels: LabelDefinition, command: str) -> dict:
    return {"report_version": PLAIN_VERSION if labels.is_plain else REPORT_VERSION, "command": command}


def _data(info: DatasetInfo, labels: LabelDefinition, partition: str) -> dict:
    return {
        "dataset": {"folder": info.location, "data_hash": info.data_hash},
        **({} if labels.is_plain else {"labels": labels.to_json()}),
        "partition": partition,
    }


def _lacking(info: DatasetInfo, partition: str, modalities: Sequence[str]) -> dict[str, list[str]]:
    return {
        name: [case.case_id for case in info.cases(partition) if name not in info.modalities_of(case)]
        for name in modalities
    }


def _definitions(
    labels: LabelDefinition, notes: Sequence[str], fitted: Mapping, surface_tolerance_mm: float, failure_dice: float
) -> dict:
    return {
        "policy": POLICY,
        "surface_tolerance_mm": surface_tolerance_mm,
        "failure_dice": failure_dice,
        "intervals": bootstrap.METHOD,
        "notes": list(notes),
        "blind": {
            name: _by_class(labels, {class_name: dataclasses.asdict(fit) for class_name, fit in of_classes.items()})
            for name, of_classes in fitted.items()
        },
        "versions": versions(),
        "processor": cpu.processor(),
    }


def _by_class(labels: LabelDefinition, values: Mapping[str, Any]) -> Any:
    return dict(values) if len(labels.names) > 1 else next(iter(values.values()), None)


def _rows_of(
    labels: LabelDefinition,
    name: str,
    kind: str,
    modality: str | None,
    of_classes: Mapping[str, Sequence[CaseScore]],
    failure_dice: float,
) -> list[dict]:
    """The row of a network, masks or baseline; with several classes also a row for each class."""

    def row(scores: Sequence[CaseScore], **target: str | None) -> dict:
        return {
            "name": name,
            "kind": kind,
            "modality": modality,
            **target,
            "summary": summarise(scores),
            "failures": failures.listed(scores, failure_dice),
            "cases": [dataclasses.asdict(score) for score in scores],
        }

    by_class = {class_name: of_classes.get(class_name, []) for class_name in labels.names}
    if len(by_class) == 1:
        return [row(*by_class.values())]
    over_classes = row([mean_over_classes(scores) for scores in zip(*by_class.values())], target=None)
    return [over_classes, *(row(scores, target=class_name) for class_name, scores in by_class.items())]


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
        whole = dict[str, schema] if targets(body) else schema
        json_files.of_value(fitted, whole, what=f"{what} with '{name}'", path=path, remedy=_REMEDY)
    if problem := _problem_of_source(body):
        raise UserError(f"expected {what}, got {problem}", path=path, remedy=_REMEDY)
    if any("\0" in fold["run"] for fold in body.get("folds", ())):
        raise UserError(f"expected {what}, got a fold whose run has no possible path", path=path, remedy=_REMEDY)
    known = {None, *targets(body)}
    if any(row.get("target") not in known for row in body["rows"]):
        raise UserError(f"expected {what}, got rows of classes that it does not define", path=path, remedy=_REMEDY)
    return body


def _problem_of_source(body: dict) -> str | None:
    """The contradiction between the rows and the source (run or masks); None without one."""
    if ("run" in body) == ("masks" in body):
        return "scores without one source, a run or masks"
    kinds = {row["kind"] for row in body["rows"]} - {"blind"}
    if "run" in body:
        return "rows of masks in the scores of a run" if "masks" in kinds else None
    source = body["masks"]
    masks_rows = {(row["name"], row["modality"]) for row in body["rows"] if row["kind"] == "masks"}
    if kinds != {"masks"} or masks_rows != {(source["name"], source["modality"])}:
        return "scores of masks whose rows are of something else"
    return None


def targets(report: dict) -> tuple[str, ...]:
    """The classes that have rows; () for a single class."""
    classes = tuple(report["labels"]["classes"]) if report.get("labels") else ()
    return classes if len(classes) > 1 else ()


def scores(row: dict) -> list[CaseScore]:
    """A row's scores. Measures that the report lacks are None."""
    names = [field.name for field in dataclasses.fields(CaseScore)]
    return [CaseScore(**{name: case[name] for name in names if name in case}) for case in row["cases"]]


def shared_policy(first: dict, other: dict) -> tuple[dict, dict]:
    """For each report, the definitions of the measures that both have. Comparable reports have equal definitions."""
    first_policy, other_policy = (
        {**body["policy"], "surface_tolerance_mm": body["surface_tolerance_mm"]} for body in (first, other)
    )
    return {key: first_policy[key] for key in first_policy if key in other_policy}, {
        key: other_policy[key] for key in other_policy if key in first_policy
    }


def patients(report: dict) -> list[str]:
    """All patients with a score in any row, in the partition's order. A row lacks patients without its modality."""
    longest = max(report["rows"], key=lambda row: len(row["cases"]))
    return list(dict.fromkeys(case["case_id"] for row in (longest, *report["rows"]) for case in row["cases"]))


def rows(report: dict, target: str | None = None) -> list[dict]:
    """The rows of a class; for None, the rows over all classes."""
    return [row for row in report["rows"] if row.get("target") == target]


def networks(report: dict, target: str | None = None) -> list[dict]:
    """The rows of networks; see `rows`."""
    return [row for row in rows(report, target) if row["kind"] == "network"]


def methods(report: dict, target: str | None = None) -> list[dict]:
    """The rows of networks or of another tool's masks: all rows except the no-network baselines; see `rows`."""
    return [row for row in rows(report, target) if row["kind"] != "blind"]


def answers_for(row: dict, modality: str) -> bool:
    """Whether a row of `methods` is compared in a modality. Masks of no single modality are compared in all."""
    return row["modality"] == modality or (row["kind"] == "masks" and row["modality"] is None)


def baselines(report: dict, target: str | None = None) -> list[dict]:
    """The rows of the no-network baselines; see `rows`."""
    return [row for row in rows(report, target) if row["kind"] == "blind"]
