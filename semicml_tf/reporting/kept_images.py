"""Reads the stored images of an evaluation. Only files in the evaluation's own folder are opened."""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Mapping

import numpy as np

from semicml_tf.evaluation import case_images
from semicml_tf.reporting.run_facts import RunFacts
from semicml_tf.system import npz_files

# Names as in `case_images`: an index from elsewhere must not open other files.
_FOLDER, _VOLUME = (
    re.compile(r"\d{4,9}"),
    re.compile(r"(truth(-\d{1,3})?|image-\d{1,3}|(mask|probability)-\d{1,3}(-\d{1,3})?)\.nii\.gz"),
)


@dataclasses.dataclass(frozen=True, eq=False)
class KeptCase:
    """A patient of an evaluation with stored images.

    Attributes:
        case_id: name.
        folder: of the patient's files.
        modalities: the patient's modalities, with the numbers in the names of their files.
        classes: names of several classes; () for a single class.
        thresholds: on the probability, by modality and class; {} for exclusive classes. A single class has the key "".
        slice_index, slices: the slice in the pictures, and the number of slices.
        error_slice_index: the slice with the most errors; None if it is the same slice.
        pixel_aspect: height of a pixel over its width.
        has_volumes: whether whole volumes are stored.
    """

    case_id: str
    folder: pathlib.Path
    modalities: Mapping[str, int]
    classes: tuple[str, ...]
    thresholds: Mapping[str, Mapping[str, float]]
    slice_index: int
    error_slice_index: int | None
    slices: int
    pixel_aspect: float
    has_volumes: bool

    @property
    def suffixes(self) -> list[str]:
        """For each class, the suffix of its arrays' and files' names."""
        return case_images.suffixes(self.classes)

    def slice(self, name: str = case_images.SLICE) -> dict[str, np.ndarray] | None:
        """The arrays of `slice.npz` or `errors.npz` (see `case_images`); None if they cannot be read."""
        wanted = [f"truth{end}" for end in self.suffixes]
        for number in self.modalities.values():
            wanted.append(f"image-{number}")
            wanted += [f"{kind}-{number}{end}" for kind in ("mask", "probability") for end in self.suffixes]
        try:
            with npz_files.Arrays(self.folder / name) as stored:
                arrays = {name: stored[name] for name in wanted}
        except npz_files.BROKEN:
            return None
        shapes = {array.shape for array in arrays.values()}
        plain = all(array.ndim == 2 and array.dtype == np.uint8 and array.size for array in arrays.values())
        return arrays if plain and len(shapes) == 1 else None

    def volume(self, name: str) -> bytes | None:
        """The bytes of a volume's file; None if the file is missing."""
        if not _VOLUME.fullmatch(name):
            return None
        try:
            return (self.folder / name).read_bytes()
        except OSError:
            return None


def _by_class(threshold) -> dict[str, float]:
    if isinstance(threshold, dict):
        return {name: float(value) for name, value in threshold.items()}
    return {} if threshold is None else {"": float(threshold)}


def of_run(run: RunFacts) -> dict[str, KeptCase]:
    """The patients with stored images, by name. Invalid entries are skipped."""
    if run.images is None:
        return {}
    numbers = {name: number for number, name in enumerate(run.images.get("modalities", ()))}
    classes = case_images.classes(run.images)
    cases = {}
    for entry in run.images.get("cases", ()):
        try:
            if not _FOLDER.fullmatch(entry["folder"]):
                continue
            case = KeptCase(
                case_id=str(entry["case_id"]),
                folder=run.evaluation / case_images.FOLDER / entry["folder"],
                modalities={name: numbers[name] for name in entry["modalities"]},
                classes=classes,
                thresholds={name: _by_class(run.images["thresholds"][name]) for name in entry["modalities"]},
                slice_index=int(entry["slice_index"]),
                error_slice_index=None if entry.get("error_slice_index") is None else int(entry["error_slice_index"]),
                slices=int(entry["shape"][0]),
                pixel_aspect=float(entry["pixel_aspect"]),
                has_volumes=bool(entry.get("volumes")),
            )
        except (KeyError, TypeError, ValueError):
            continue
        cases[case.case_id] = case
    return cases
