"""Reads the facts of a run from its folder. Images of the dataset are not read.

For an older or unfinished run, the page shows what exists and notes what is missing.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import pathlib
import shlex
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from semicml_tf.diagnostics import relearning_report
from semicml_tf.errors import UserError
from semicml_tf.evaluation import case_images, comparison, report
from semicml_tf.evaluation.config import PARTITIONS
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.runs import run_folder
from semicml_tf.storage import url as urls

T = TypeVar("T")
_REMEDY = "Choose the folder that python -m semicml_tf.train wrote"


@dataclasses.dataclass(frozen=True, eq=False)
class RunFacts:
    """The facts of a run, or of the masks of another tool, which have only scores.

    Attributes:
        key: identifier of the run on the page.
        name: unique name of the run on the page.
        folder: of the run.
        partition: the partition whose scores are shown.
        record: run.json.
        history: rows of history.csv with parsed numbers, without empty columns.
        flags: the flagfile that repeats the run; None without one.
        metrics: metrics.json; None if the partition was not evaluated.
        images: cases/index.json; None if the evaluation kept no images.
        relearning: the report on re-learning; None without one.
        notes: missing files, each with a remedy.
        damaged: problems of files that exist but cannot be read, one line each.
        part_of: key of the cross-validation to which the run belongs; "" for other runs.
    """

    key: str
    name: str
    folder: pathlib.Path
    partition: str
    record: run_folder.Record
    history: list[dict]
    flags: str | None
    metrics: report.Report | None
    images: case_images.Index | None
    relearning: relearning_report.Report | None
    notes: tuple[str, ...]
    damaged: tuple[str, ...]
    part_of: str = ""

    @property
    def is_pooled(self) -> bool:
        """Whether these are the pooled scores of a cross-validation, which has no networks."""
        return bool(self.metrics and self.metrics.get("folds"))

    @property
    def evaluation(self) -> pathlib.Path:
        """Folder of the partition's evaluation."""
        return self.folder / "evaluation" / self.partition

    @property
    def rows(self) -> list[dict]:
        """The rows over all classes of the metrics, networks first."""
        return self.rows_of(None)

    def rows_of(self, target: str | None) -> list[dict]:
        """The rows of a class; see `report.rows`."""
        rows = report.rows(self.metrics, target) if self.metrics else []
        return sorted(rows, key=lambda row: row.get("kind") == "blind")

    @property
    def targets(self) -> tuple[str, ...]:
        """The classes that have rows; () for a single class."""
        return report.targets(self.metrics) if self.metrics else ()

    @property
    def kept_classes(self) -> tuple[str, ...]:
        """The classes of the kept images; () for a single class."""
        return case_images.classes(self.images) if self.images else ()

    @property
    def networks(self) -> list[dict]:
        """Rows of networks, or of the masks of another tool."""
        return self.networks_of(None)

    def networks_of(self, target: str | None) -> list[dict]:
        """The rows of a class without the no-network baselines."""
        return [row for row in self.rows_of(target) if row.get("kind") != "blind"]

    @property
    def masks(self) -> dict | None:
        """The source of another tool's masks (`report.MaskSource`); None for a run."""
        return self.metrics.get("masks") if self.metrics else None

    def title(self, row: dict) -> str:
        """The title of a row: the modality, or the name of a baseline."""
        return (row["modality"] or comparison.ALL_MODALITIES) if row["kind"] == "masks" else row["name"]

    @property
    def modalities(self) -> list[str]:
        """The modalities of the run, in order."""
        return list(self.record["modalities"])

    @property
    def method(self) -> str:
        """The methods of the run's stages."""
        if self.masks:
            return "masks of another tool"
        stages = self.record.get("settings", {}).get("method") or list(
            dict.fromkeys(str(row["stage"]) for row in self.history if "stage" in row)
        )
        return " then ".join(stages) or "unknown method"

    @property
    def labelled(self) -> int | None:
        """Number of labelled patients in training; None if unknown."""
        if self.masks:
            return None
        if self.images is not None:
            return self.images["labelled_patients"]
        dataset = self.record["dataset"]
        if urls.is_remote(dataset):  # a download would be needed
            return None
        try:
            return len(DatasetInfo.load(dataset).partitions.get("labelled", ()))
        except UserError:
            return None


def _value(value: str) -> Any:
    try:
        number = float(value)
    except ValueError:
        return value
    return number if math.isfinite(number) else value


def _history(folder: pathlib.Path) -> list[dict]:
    try:
        rows = run_folder.read_history(folder)
    except UserError:
        return []
    parsed = [{key: _value(value) for key, value in row.items() if key and value} for row in rows]
    return [{**row, "epoch": int(row["epoch"])} for row in parsed if isinstance(row.get("epoch"), float)]


def _read(path: pathlib.Path, read: Callable[[], T], damaged: list[str]) -> T | None:
    """The result of `read`; None if the file is missing or damaged. The error of a damaged file goes to `damaged`."""
    if not path.is_file():
        return None
    try:
        return read()
    except UserError as error:
        damaged.append(error.line)
        return None


def _again(folder: pathlib.Path, partition: str) -> str:
    """The command that evaluates a run."""
    again = f"python -m semicml_tf.evaluate --run={shlex.quote(str(folder))}"
    return again if partition == "test" else f"{again} --partition={partition}"


def _metrics(folder: pathlib.Path, partition: str, record: dict, notes: list[str], damaged: list[str]) -> dict | None:
    again = _again(folder, partition)
    path = folder / "evaluation" / partition / report.FILE_NAME
    body = _read(path, lambda: report.load(path), damaged)
    if body is None and path.is_file():
        return None
    if body is None:
        evaluated = {path.parent.name for path in folder.glob(f"evaluation/*/{report.FILE_NAME}")}
        others = sorted(evaluated.intersection(PARTITIONS))
        other = f". It is evaluated on '{others[0]}': pass --partition={others[0]} for that report" if others else ""
        notes.append(f"Not evaluated on '{partition}': run {again}{other}")
        return None
    scored = body.get("run", {})
    if scored.get("run_hash") != record["run_hash"] or scored.get("best") not in (None, record.get("best")):
        notes.append(f"Training has continued since the evaluation. To score the current networks, run {again}")
    if not (folder / "evaluation" / partition / case_images.FOLDER / case_images.INDEX).is_file():
        notes.append(
            f"This evaluation of an earlier version kept no images. For pictures, viewer and calibration, run {again}"
        )
    return body


def load(folder: str | pathlib.Path, partition: str, key: str, name: str) -> RunFacts:
    """Reads a run.

    Raises:
        UserError: `folder` is not the folder of a run.
    """
    folder, notes, damaged = pathlib.Path(folder), [], []
    record = run_folder.read_record(folder, _REMEDY)
    metrics = _metrics(folder, partition, record, notes, damaged)
    evaluation = folder / "evaluation" / partition
    index = evaluation / case_images.FOLDER / case_images.INDEX
    images = _read(index, lambda: case_images.read_index(evaluation), damaged) if metrics is not None else None
    taught = folder / "evaluation" / "relearning"
    relearned = _read(taught / relearning_report.FILES[0], lambda: relearning_report.read(taught), damaged)
    if images is not None and images.get("case_images") == "none":
        notes.append("This evaluation kept no images (--case_images=none): no pictures and no viewer.")
    try:
        flags = (folder / "flags.flagfile").read_text(encoding="utf-8")
    except (OSError, ValueError):
        flags = None
    return RunFacts(
        key=key,
        name=name,
        folder=folder,
        partition=partition,
        record=record,
        history=_history(folder),
        flags=flags,
        metrics=metrics,
        images=images,
        relearning=relearned,
        notes=(*notes, *damaged),
        damaged=tuple(damaged),
    )


def _load_crossvalidation(folder: pathlib.Path, partition: str, key: str, name: str) -> list[RunFacts]:
    """Reads the pooled scores of a cross-validation, and then the runs of its folds.

    Raises:
        UserError: the scores cannot be read, or the folder of a fold's run is missing.
    """
    evaluation = folder / "evaluation" / partition
    metrics = report.load(evaluation / report.FILE_NAME)
    if not metrics.get("folds"):
        return [load(folder, partition, key, name)]
    members, notes = [], []
    for number, fold in enumerate(metrics["folds"]):
        place = (evaluation / fold["run"]).resolve()
        member = load(place, partition, f"{key}-{number}", f"{name}: {place.parent.name}")
        members.append(dataclasses.replace(member, part_of=key))
        if member.record["run_hash"] != fold["run_hash"]:
            notes.append(f"{member.name} was trained again later: repeat the cross-validation")
    of_members = {name: value for name, value in members[0].record.items() if name not in ("best", "command")}
    pooled = RunFacts(
        key=key,
        name=name,
        folder=folder,
        partition=partition,
        record={**of_members, **metrics["run"]},
        history=[],
        flags=None,
        metrics=metrics,
        images=None,
        relearning=None,
        notes=tuple(notes),
        damaged=(),
    )
    return [pooled, *members]


def _is_run(folder: pathlib.Path, partition: str) -> bool:
    pooled = folder / "evaluation" / partition / report.FILE_NAME
    return (folder / run_folder.FILE_NAME).exists() or not pooled.is_file()


def load_external(path: str | pathlib.Path, partition: str | None, key: str) -> RunFacts:
    """Reads the scores of the masks of another tool.

    Args:
        partition: of the scores; None takes those of any partition.

    Raises:
        UserError: the file has no scores of masks, or is of another partition.
    """
    path, body = pathlib.Path(path), report.load(path)
    if "masks" not in body:
        raise UserError("expected the scores of masks, got those of a run", path=path, remedy="Pass the run's folder")
    if partition not in (None, body["partition"]):
        problem = f"expected scores of partition '{partition}', got '{body['partition']}'"
        raise UserError(problem, path=path, remedy=f"Pass --partition={body['partition']}, or score that partition")
    modality = body["masks"]["modality"]
    record = {"modalities": [modality] if modality else [], "dataset": "", "data_hash": body["dataset"]["data_hash"]}
    nothing = dict.fromkeys(("flags", "images", "relearning"))
    return RunFacts(
        key=key,
        name=body["masks"]["name"],
        folder=path.parent,
        partition=body["partition"],
        record=record,
        history=[],
        metrics=body,
        notes=(),
        damaged=(),
        **nothing,
    )


def load_all(
    folders: Sequence[str | pathlib.Path], partition: str, external: Sequence[str | pathlib.Path] = ()
) -> list[RunFacts]:
    """Reads runs and the scores of masks, each with a unique name.

    A cross-validation becomes its pooled scores and the runs of its folds.

    Args:
        folders: of runs or cross-validations.
        partition: whose scores are read.
        external: metrics.json files of the masks of other tools.

    Raises:
        UserError: a folder has no run, or is repeated; see also `load_external`.
    """
    resolved = [pathlib.Path(folder).resolve() for folder in folders]
    twice = next((path for index, path in enumerate(resolved) if path in resolved[:index]), None)
    if twice is not None:
        raise UserError("this run is passed twice", path=twice, remedy="Name each run once")
    runs: list[RunFacts] = []
    for index, (folder, name) in enumerate(zip(map(pathlib.Path, folders), _names(resolved))):
        if _is_run(folder, partition):
            runs.append(load(folder, partition, f"run{index}", name))
        else:
            runs += _load_crossvalidation(folder, partition, f"run{index}", name)
    # The dataset itself has the patients of a cross-validation in another partition.
    is_pooled = any(run.is_pooled for run in runs)
    for index, path in enumerate(external, start=len(folders)):
        masks = load_external(path, None if is_pooled else partition, f"run{index}")
        if masks.name in [run.name for run in runs]:
            masks = dataclasses.replace(masks, name=f"{masks.name} ({path})")
        runs.append(masks)
    return runs


def _names(paths: Sequence[pathlib.Path]) -> list[str]:
    """The shortest suffixes of the paths that are all different."""
    # Runs are often called "run". The name of a single run includes its parent folder.
    for parts in itertools.count(1 if len(paths) > 1 else 2):
        names = ["/".join(path.parts[-parts:]) for path in paths]
        if len(set(names)) == len(names) or parts > max(len(path.parts) for path in paths):
            return names
    raise AssertionError("unreachable")
