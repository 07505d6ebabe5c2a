"""`postprocessing.json`: the post-processing of a run's masks, chosen on its validation patients only."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from typing_extensions import NotRequired, TypedDict

from semicml_tf.errors import UserError
from semicml_tf.evaluation.score_cases import segmented
from semicml_tf.evaluation.segment import by_network, native_masks
from semicml_tf.inference.agreement import dice
from semicml_tf.inference.averaging import BY_DEFAULT, Averaging
from semicml_tf.labels import LabelDefinition
from semicml_tf.postprocessing.steps import NONE, Postprocessing
from semicml_tf.records.case_record import CaseRecord
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.runs.run_folder import Run
from semicml_tf.system import json_files

FILE_NAME = "postprocessing.json"
VERSION = 1
_REMEDY = "Choose it again with python -m semicml_tf.evaluate RUN --choose_postprocessing"

# Simplest first: of candidates with equal DSC, the first is chosen.
CANDIDATES = tuple(
    Postprocessing(fill_holes, min_ml, largest)
    for largest in (False, True)
    for fill_holes in (False, True)
    for min_ml in (0.0, 0.1, 0.5, 2.0, 5.0)
)
# Required gain of a candidate in mean DSC over 'none'. With few validation patients, a smaller gain may be chance.
MARGIN = 0.005


class _OfClass(TypedDict):
    chosen: str


class _Choice(TypedDict):
    """The choice of a modality, or with several classes the choice of each class."""

    chosen: NotRequired[str]
    classes: NotRequired[dict[str, _OfClass]]
    network: dict[str, Any]


class _File(TypedDict):
    """The fields of the file that are read."""

    version: Literal[VERSION]
    run_hash: str
    modalities: dict[str, _Choice]


def choose(means: Sequence[float], margin: float = MARGIN) -> int:
    """Index of the first candidate with the best mean DSC; 0 unless it gains more than `margin`.

    Args:
        means: mean DSC of each candidate, 'none' first.
    """
    rounded = np.round(np.asarray(means, np.float64), 9)
    best = int(rounded.argmax())
    return best if round(float(rounded[best] - rounded[0]), 9) > margin else 0


def build(
    run: Run, info: DatasetInfo, records, *, batch_size: int, averaging: Averaging = BY_DEFAULT, command: str
) -> dict:
    """Tries every candidate on labelled patients, and returns the contents of `postprocessing.json`.

    The choice is made for each class. Ignored voxels do not count.

    Args:
        run: provides networks and thresholds.
        info: the run's data.
        records: of the validation patients, read once.
        batch_size: slices in one call of a network.
        averaging: flips and overlap of the networks.
        command: the command line.

    Raises:
        UserError: there is no patient with a label, or a network's answer is not finite.
    """
    classes = run.labels.names
    segmenters = {
        name: by_network(run.network(name), name, run.patch, batch_size, classes=len(classes), averaging=averaging)
        for name in run.modalities
    }
    scores: dict[str, dict[str, list[list[float]]]] = {
        name: {class_name: [] for class_name in classes} for name in run.modalities
    }
    cases: dict[str, list[str]] = {name: [] for name in run.modalities}
    for record in records:
        for name, probabilities in segmented(record, segmenters).items():
            for class_name, mask in native_masks(probabilities, record, run.thresholds(name), {}):
                scores[name][class_name].append(_trials(mask, record, class_name))
            cases[name].append(record.case_id)
    body: dict = {
        "version": VERSION,
        "command": command,
        "run_hash": run.run_hash,
        "dataset": {"folder": info.location, "data_hash": info.data_hash},
        "partition": "validation",
        "margin": MARGIN,
        "rule": "highest mean DSC on the patients' own grid, simplest of equals; none unless it gains over the margin",
        "modalities": {},
    }
    for name in run.modalities:
        if not cases[name]:
            raise UserError(f"expected validation patients with the modality '{name}', got none", path=info.location)
        chosen = {class_name: _chosen(np.array(table)) for class_name, table in scores[name].items()}
        entry = {"network": _network(run, name), "cases": cases[name], "classes": chosen}
        if len(classes) == 1:
            (only,) = entry.pop("classes").values()
            entry = {"chosen": only["chosen"], "gain": only["gain"], **entry, "trials": only["trials"]}
        body["modalities"][name] = entry
    return body


def _trials(mask: np.ndarray, record: CaseRecord, class_name: str) -> list[float]:
    """DSC of a class's mask after each candidate."""
    truth, ignored = record.labels.mask(record.native_label, class_name), record.labels.ignored(record.native_label)
    valid = ... if ignored is None else ~ignored
    volume_ml = record.native_grid.voxel_volume_ml
    return [dice(steps.apply(mask, volume_ml)[valid], truth[valid]) for steps in CANDIDATES]


def _chosen(table: np.ndarray) -> dict[str, Any]:
    """The choice of a class, from the DSC of (patients, candidates)."""
    means = table.mean(axis=0)
    number = choose(means)
    return {
        "chosen": str(CANDIDATES[number]),
        "gain": float(means[number] - means[0]),
        "trials": [
            {"postprocessing": str(steps), "dice": float(mean), "dice_of_cases": [float(dice) for dice in column]}
            for steps, mean, column in zip(CANDIDATES, means, table.T)
        ],
    }


def _network(run: Run, modality: str) -> dict:
    """Identifies the checkpoint: a resumed run may choose another checkpoint."""
    return {key: run.best[modality].get(key) for key in ("step", "stage", "threshold")}


def load(run: Run) -> Mapping[str, Mapping[str, Postprocessing]]:
    """Reads the choice of a run by modality and class; 'none' without a file.

    Raises:
        UserError: the file is damaged, or was written for another run or checkpoint.
    """
    path = pathlib.Path(run.folder) / FILE_NAME
    if not path.exists():
        return {name: dict.fromkeys(run.labels.names, NONE) for name in run.modalities}
    body = json_files.read(path, _File, what="a run's post-processing", remedy=_REMEDY)
    if body["run_hash"] != run.run_hash:
        raise UserError("the post-processing was chosen for another run", path=path, remedy=_REMEDY)
    chosen = {}
    for name in run.modalities:
        if name not in body["modalities"] or body["modalities"][name]["network"] != _network(run, name):
            raise UserError(
                f"the post-processing was chosen for another checkpoint of '{name}'", path=path, remedy=_REMEDY
            )
        texts = {
            class_name: choice["chosen"]
            for class_name, choice in by_class(run.labels, body["modalities"][name]).items()
        }
        if set(texts) != set(run.labels.names):
            problem = f"the post-processing was chosen for other classes than {', '.join(run.labels.names)}"
            raise UserError(problem, path=path, remedy=_REMEDY)
        try:
            chosen[name] = {class_name: Postprocessing.parse(texts[class_name]) for class_name in run.labels.names}
        except UserError as error:
            raise UserError(error.problem, path=path, remedy=_REMEDY) from error
    return chosen


def by_class(labels: LabelDefinition, entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """The choices of a modality's entry by class."""
    return entry.get("classes", {labels.names[0]: entry} if "chosen" in entry else {})


def _title(name: str, class_name: str, of_classes: Mapping) -> str:
    return f"{name} {class_name}" if len(of_classes) > 1 else name


def notes(chosen: Mapping[str, Mapping[str, Postprocessing]]) -> list[str]:
    """Notes for readers of the scores: one sentence for each modality with post-processing."""
    sentences = []
    for name, of_classes in chosen.items():
        steps = [
            f"{class_name}: {steps}" if len(of_classes) > 1 else str(steps)
            for class_name, steps in of_classes.items()
            if steps != NONE
        ]
        if steps:
            sentences.append(
                f"Masks of '{name}' were post-processed before scoring: {', '.join(steps)}, chosen on the validation "
                "patients; export stores it and prediction applies it."
            )
    return sentences


def screen(body: dict) -> str:
    """One line per modality and class: the choice and its gain."""
    lines = []
    for name, entry in body["modalities"].items():
        of_classes = entry.get("classes", {"": entry})
        for class_name, choice in of_classes.items():
            none = choice["trials"][0]["dice"]
            best = max(choice["trials"], key=lambda trial: trial["dice"])
            lines.append(
                f"{_title(name, class_name, of_classes)}: {choice['chosen']} (mean DSC of {len(entry['cases'])} "
                f"validation patients: none {none:.4f}, "
                f"best of {len(choice['trials'])} trials {best['dice']:.4f} with {best['postprocessing']})"
            )
    return "\n".join(lines)
