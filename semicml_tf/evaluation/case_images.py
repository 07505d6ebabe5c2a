"""`evaluation/PARTITION/cases`: the images that an evaluation keeps for the report.

Only `evaluate` reads test patients. It keeps one slice of each patient, and the volumes of the patients with the lowest
and the highest DSC. All images are 8-bit and on the network's grid.

    cases/index.json              `INDEX_VERSION`, the patients in ranked order, calibration
    cases/0003/slice.npz          image-I, truth, mask-I, probability-I: (rows, columns) uint8; I is the index of the
                                  run's modality
    cases/0003/errors.npz         the same arrays of the slice with the most errors, if it is another slice
    cases/0003/image-I.nii.gz     uint8; the NIfTI scaling restores native units (HU, SUV, MR as reconstructed)
    cases/0003/truth.nii.gz       uint8 0/1
    cases/0003/mask-I.nii.gz      uint8 0/1: the scored mask of modality I's network, after post-processing
    cases/0003/probability-I.nii.gz   of modality I's network, 0..255; the scaling restores 0..1

Folders are named by numbers, because patients' names may contain characters that file names may not. With several
classes, truth, masks and probabilities have the class's number after a further hyphen: truth-C, mask-I-C,
probability-I-C.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
from annotated_types import Interval, MaxLen, MinLen
from typing_extensions import NotRequired, TypedDict

from semicml_tf.evaluation import calibration
from semicml_tf.evaluation.score_cases import Answer
from semicml_tf.geometry.grid import Grid
from semicml_tf.labels import MOST_CLASSES, PLAIN
from semicml_tf.records.case_record import CaseRecord
from semicml_tf.system import atomic_files, json_files
from semicml_tf.system.json_files import Count, Positive, Share

FOLDER = "cases"
INDEX = "index.json"
SLICE, ERRORS = "slice.npz", "errors.npz"
# With one class, the index has version 2 and no field `classes`.
PLAIN_VERSION, INDEX_VERSION = 2, 3
# Choices of --case_images.
KINDS = ("shown", "all", "none")
# Numbers of patients whose volumes "shown" keeps.
WORST, BEST = 10, 5


@dataclasses.dataclass(frozen=True)
class Bin:
    """A bin of a reliability diagram; see `calibration.reliability`."""

    low: float
    high: float
    count: Count
    mean_label: float | None
    observed: float | None

    def __post_init__(self):
        if self.count and (self.mean_label is None or self.observed is None):
            raise ValueError("expected mean_label and observed of a bin with voxels")


class Measured(TypedDict):
    """Calibration of a modality's network, or of labels."""

    patients: NotRequired[Count]
    reliability: list[Bin]
    ece: NotRequired[float | None]
    ece_unsure: NotRequired[float | None]
    brier: NotRequired[float | None]


class _Entry(TypedDict):
    case_id: str
    folder: str
    modalities: list[str]
    shape: tuple[Positive, Positive, Positive]
    slice_index: Count
    error_slice_index: NotRequired[Count | None]
    pixel_aspect: Annotated[float, Interval(ge=1e-3, le=1e3)]
    volumes: NotRequired[dict[str, Count] | None]


class Index(TypedDict):
    """The fields of `cases/index.json` that are read."""

    index_version: Literal[PLAIN_VERSION, INDEX_VERSION]
    case_images: NotRequired[str]
    modalities: list[str]
    # Names of several classes; missing if there is one class.
    classes: NotRequired[Annotated[list[str], MinLen(2), MaxLen(MOST_CLASSES)]]
    # By modality; with several regions also by class; {} for exclusive classes.
    thresholds: dict[str, Share | None | dict[str, Share]]
    labelled_patients: Count
    cases: list[_Entry]
    # By modality; with several classes by "MODALITY CLASS".
    calibration: NotRequired[dict[str, Measured]]


def classes(index: Index) -> tuple[str, ...]:
    """Names of several classes; () if there is one class."""
    return tuple(index.get("classes", ()))


def suffixes(names: Sequence[str]) -> list[str]:
    """For each class, the suffix of its arrays' names; empty for a single class."""
    return [f"-{number}" for number in range(len(names))] if len(names) > 1 else [""]


def read_index(evaluation: pathlib.Path) -> Index:
    """Reads the index below the folder of an evaluation.

    Raises:
        UserError: the file cannot be read, or a field is missing or wrong.
    """
    return json_files.read(
        evaluation / FOLDER / INDEX,
        Index,
        what="the index of an evaluation's images",
        remedy="Evaluate the run again",
        max_bytes=json_files.MAX_BYTES_OF_CASES,
    )


def to_bytes(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Maps `low`..`high` to uint8 0..255, with clipping and rounding."""
    if not high > low:
        return np.zeros(np.shape(values), np.uint8)
    scaled = (np.asarray(values, np.float32) - np.float32(low)) * np.float32(255.0 / (high - low))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def write_volume(path: pathlib.Path, array: np.ndarray, grid: Grid, low: float = 0.0, high: float = 255.0) -> int:
    """Writes a uint8 volume as gzipped NIfTI whose scaling maps 0..255 to `low`..`high`; returns its size in bytes.

    The axes in the file have the usual order of NIfTI: left-right, back-front, feet-head.

    Args:
        array: (slices, rows, columns), of ``grid.shape``.
    """
    import gzip

    import nibabel

    # Columns, rows, slices: the file's first axis is then the patient's left-right axis.
    affine = grid.affine[:, [2, 1, 0, 3]]
    image = nibabel.Nifti1Image(np.ascontiguousarray(array.transpose(2, 1, 0)), affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1, strip_shears=True)
    slope = (high - low) / 255.0
    image.header.set_slope_inter(*((slope, low) if slope > 0 else (1.0, 0.0)))
    data = gzip.compress(_with_scaling(image), 6, mtime=0)
    atomic_files.write_file(path, lambda stream: stream.write(data))
    return len(data)


def _with_scaling(image) -> bytes:
    # nibabel would replace the scaling on writing. The header's bytes are therefore written here.
    header, data = image.header.copy(), np.asarray(image.dataobj)
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    return header.binaryblock + b"\0" * 4 + data.tobytes(order="F")


@dataclasses.dataclass
class _Kept:
    """The stored images of a patient."""

    entry: dict
    folder: pathlib.Path

    @property
    def rank(self) -> tuple[float, str]:
        return self.entry["mean_dice"], self.entry["case_id"]


class CaseImages:
    """Collects images patient by patient in a temporary folder beside the output; `move_to` moves them into it.

    As a context manager, it removes the temporary folder if `move_to` was not called.

    Args:
        output: folder of the evaluation.
        modalities: of the run.
        thresholds: on the probability, by modality and class.
        kind: ``shown``: a slice of each patient, volumes of the `WORST` and `BEST` patients by DSC; ``all``: volumes of
            all patients; ``none``: no image.
        labelled: number of labelled patients that the run was trained on.
        classes: names of the classes.
    """

    def __init__(
        self,
        output: pathlib.Path,
        modalities: Sequence[str],
        thresholds: Mapping[str, Mapping[str, float]],
        kind: str,
        labelled: int,
        classes: Sequence[str] = PLAIN.names,
    ):
        self._output = output.absolute()
        self._parent = self._output.parent
        self._modalities, self._thresholds, self._kind, self._labelled = tuple(modalities), thresholds, kind, labelled
        self._classes = tuple(classes)
        self._folder: pathlib.Path | None = None
        self._kept: list[_Kept] = []
        # By modality; with several classes by "MODALITY CLASS".
        self._tallies: dict[str, calibration.Tally] = {}
        self._patients: dict[str, int] = {}

    def __enter__(self) -> CaseImages:
        return self

    def __exit__(self, *_) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, record: CaseRecord, answers: Mapping[str, Answer]) -> None:
        """Adds a patient; see `score_cases.OnCase`.

        Raises:
            UserError: the temporary folder cannot be written.
        """
        present = [name for name in self._modalities if name in record.images]
        ignored = record.labels.ignored(record.label)
        for name in present:
            for class_name, soft in zip(self._classes, answers[name].probabilities):
                tally = calibration.tally(soft, record.labels.mask(record.label, class_name), ignored)
                key = name if len(self._classes) == 1 else f"{name} {class_name}"
                self._tallies[key] = self._tallies[key] + tally if key in self._tallies else tally
                self._patients[key] = self._patients.get(key, 0) + 1
        if self._kind == "none" or not present:
            return
        masks = [answers[name].masks for name in present]
        index = self._slice(record, masks)
        errors = self._errors(record, masks, index)
        _, height, width = record.grid.spacing_mm
        entry = {
            "case_id": record.case_id,
            "folder": f"{len(self._kept):04d}",
            "mean_dice": float(np.mean([answers[name].score.dice for name in present])),
            "modalities": present,
            "shape": list(record.grid.shape),
            "spacing_mm": list(record.grid.spacing_mm),
            "slice_index": index,
            "error_slice_index": errors,
            "pixel_aspect": height / width,
            "volumes": None,
        }
        try:
            kept = _Kept(entry, self._make() / entry["folder"])
            kept.folder.mkdir()
            images = self._arrays(record, answers, present)
            for name, place in ((SLICE, index), (ERRORS, errors)):
                if place is not None:
                    flat = {key: array[place] for key, (array, _, _) in images.items()}
                    atomic_files.write_file(
                        kept.folder / name, lambda stream, flat=flat: np.savez_compressed(stream, **flat)
                    )
            self._kept.append(kept)
            if self._kind == "all" or kept in self._shown():
                files = {
                    f"{key}.nii.gz": write_volume(kept.folder / f"{key}.nii.gz", array, record.grid, low, high)
                    for key, (array, low, high) in images.items()
                }
                entry["volumes"] = files
            if self._kind == "shown":
                self._drop()
        except OSError as error:
            raise atomic_files.unwritable(self._output, error) from error

    def _arrays(self, record: CaseRecord, answers, present) -> dict[str, tuple[np.ndarray, float, float]]:
        ends = suffixes(self._classes)
        truth = record.labels.masks(record.label)
        arrays = {f"truth{end}": (mask, 0.0, 255.0) for end, mask in zip(ends, truth)}
        for name in present:
            number, window = self._modalities.index(name), record.constants[name]
            low, high = ((edge - window.center) / window.scale for edge in (window.low, window.high))
            arrays[f"image-{number}"] = to_bytes(record.images[name], low, high), window.low, window.high
            for end, mask, soft in zip(ends, answers[name].masks, answers[name].probabilities):
                arrays[f"mask-{number}{end}"] = mask.astype(np.uint8), 0.0, 255.0
                arrays[f"probability-{number}{end}"] = to_bytes(soft, 0.0, 1.0), 0.0, 1.0
        return arrays

    def _make(self) -> pathlib.Path:
        if self._folder is None:
            self._parent.mkdir(parents=True, exist_ok=True)
            self._folder = atomic_files.new_folder_beside(self._output)
            self._folder.chmod(0o755)
        return self._folder

    @staticmethod
    def _slice(record: CaseRecord, masks: Sequence[np.ndarray]) -> int:
        """The slice with the most truth; without truth, with the most prediction; without both, the middle slice."""
        for area in (record.labels.any(record.label), np.any([mask.any(axis=0) for mask in masks], axis=0)):
            counts = np.count_nonzero(area, axis=(1, 2))
            if counts.any():
                return int(np.argmax(counts))
        return record.grid.shape[0] // 2

    @staticmethod
    def _errors(record: CaseRecord, masks: Sequence[np.ndarray], index: int) -> int | None:
        """The slice with the most wrong voxels of all networks; None if that is `index`, or if no voxel is wrong."""
        truth = record.labels.masks(record.label) != 0
        counts = sum(np.count_nonzero(mask != truth, axis=(0, 2, 3)) for mask in masks)
        most = int(np.argmax(counts))
        return most if counts[most] > counts[index] else None

    def _shown(self) -> list[_Kept]:
        ordered = sorted(self._kept, key=lambda kept: kept.rank)
        return ordered if len(ordered) <= WORST + BEST else ordered[:WORST] + ordered[-BEST:]

    def _drop(self) -> None:
        shown = self._shown()
        for kept in self._kept:
            if kept.entry["volumes"] and kept not in shown:
                for name in kept.entry["volumes"]:
                    os.unlink(kept.folder / name)
                kept.entry["volumes"] = None

    def move_to(self, folder: pathlib.Path) -> None:
        """Writes the index and moves all images to `folder` / `FOLDER`; `folder` is on the output's file system."""
        several = len(self._classes) > 1
        body = {
            "index_version": INDEX_VERSION if several else PLAIN_VERSION,
            "case_images": self._kind,
            "grid": "network",
            "modalities": list(self._modalities),
            **({"classes": list(self._classes)} if several else {}),
            "thresholds": {
                name: dict(of_classes) if several else next(iter(of_classes.values()), None)
                for name, of_classes in self._thresholds.items()
            },
            "labelled_patients": self._labelled,
            "cases": [kept.entry for kept in sorted(self._kept, key=lambda kept: kept.rank)],
            "calibration": {name: self._measures(name) for name in self._tallies},
        }
        try:
            staged = self._make()
            atomic_files.write_json(staged / INDEX, body)
            os.rename(staged, folder / FOLDER)
        except OSError as error:
            raise atomic_files.unwritable(folder, error) from error
        self._folder = None

    def _measures(self, name: str) -> dict:
        measures = calibration.measures([self._tallies[name]])
        # Measures that are means over patients are not computed here: the scores have them on the patients' own grid.
        names = ("reliability", "ece", "ece_unsure", "unsure", "brier")
        return {"patients": self._patients[name], **{key: measures[key] for key in names}}
