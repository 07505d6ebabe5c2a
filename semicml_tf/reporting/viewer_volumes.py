"""Chooses patients for the viewer within the size of the page, and writes their volumes in the viewer's format."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import hashlib
import json
from collections.abc import Sequence

import numpy as np

from semicml_tf.evaluation.case_images import BEST, WORST
from semicml_tf.reporting.kept_images import KeptCase
from semicml_tf.reporting.ranking import RankedCase


@dataclasses.dataclass(frozen=True, eq=False)
class ViewerVolumes:
    """The volumes in the page.

    Attributes:
        cases: entries for the viewer, in the page's order.
        files: gzipped NIfTI in base64, by name. Equal files have the same name.
        keys: of the patients in `cases`.
        left_out: patients whose volumes did not fit into the page.
    """

    cases: tuple[dict, ...]
    files: dict[str, str]
    keys: frozenset[str]
    left_out: tuple[RankedCase, ...]


def _window(data: bytes) -> tuple[float, float]:
    """Grey window in native units of a volume as `case_images.write_volume` writes it."""
    raw = gzip.decompress(data)
    slope, intercept = np.frombuffer(raw, "<f4", 2, 112)
    low, high = np.percentile(np.frombuffer(raw, np.uint8, offset=352), (0.5, 99.0))
    if high <= low:
        low, high = 0, 255
    return float(low * slope + intercept), float(high * slope + intercept)


def _focus_mm(kept: KeptCase, data: bytes) -> list[float]:
    """The first position of the viewer, RAS+ mm: the middle of the lesion in the stored slice.

    Args:
        kept: the patient.
        data: a volume of the patient, for its affine.
    """
    affine = np.frombuffer(gzip.decompress(data), "<f4", 12, 280).reshape(3, 4).astype(float)
    arrays = kept.slice()
    masks = (
        [] if arrays is None else [array for key, array in arrays.items() if key[:5] == "truth" or key[:4] == "mask"]
    )
    # Without truth, the predicted mask is used.
    mask = next((array for array in masks if array.any()), masks[0] if masks else np.ones((1, 1)))
    rows, columns = np.nonzero(mask if mask.any() else np.ones_like(mask))
    # The voxel of the mask nearest to the mean. The mean itself could lie between two lesions.
    nearest = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
    return (affine @ [columns[nearest], rows[nearest], kept.slice_index, 1]).round(2).tolist()


def _case(case: RankedCase, files: dict[str, str]) -> dict | None:
    """The viewer's entry of a patient; None if a file cannot be read. Adds the patient's files to `files`."""
    kept = case.kept

    def take(name: str) -> tuple[str, bytes] | None:
        data = kept.volume(name)
        if data is None or data[:2] != b"\x1f\x8b":
            return None
        key = hashlib.sha256(data).hexdigest()[:20]
        files[key] = base64.b64encode(data).decode("ascii")
        return key, data

    def of_classes(name: str) -> list[tuple[str, bytes] | None]:
        return [take(f"{name}{end}.nii.gz") for end in kept.suffixes]

    truths = of_classes("truth")
    modalities = []
    for name, number in kept.modalities.items():
        image, masks, maps = (
            take(f"image-{number}.nii.gz"),
            of_classes(f"mask-{number}"),
            of_classes(f"probability-{number}"),
        )
        if not image or not all(masks) or not all(maps):
            return None
        try:
            window = _window(image[1])
        except (OSError, EOFError, ValueError, IndexError):
            return None
        modalities.append(
            {
                "name": name,
                "image": image[0],
                "window": window,
                "masks": [key for key, _ in masks],
                "probabilities": [key for key, _ in maps],
                "dice": case.scores.get(name, {}).get("dice"),
            }
        )
    if not all(truths) or not modalities:
        return None
    return {
        "key": case.key,
        "case": case.case_id,
        "run": case.run.name,
        "place": case.place,
        "of": case.of,
        "focus_mm": _focus_mm(kept, truths[0][1]),
        "classes": list(kept.classes),
        "truths": [key for key, _ in truths],
        "modalities": modalities,
    }


def _bytes(value) -> int:
    # As written by `markup.data_block`, and one byte for the separator.
    return (
        len(
            json.dumps(value, ensure_ascii=False, separators=(",", ":"))
            .replace("<", "\\u003c")
            .encode("utf-8", "replace")
        )
        + 1
    )


def wanted(ranked: Sequence[Sequence[RankedCase]]) -> list[RankedCase]:
    """The patients of all runs for the viewer, by priority: the worst patients, then the best ones."""
    cases = [case for run in ranked for case in run if case.has_volumes and (case.is_worst or case.is_best)]
    runs = {run[0].run.key: index for index, run in enumerate(ranked) if run}

    def rank(case: RankedCase):
        # The worst patient of every run comes before the second worst, and the best before the second best.
        return case.is_best, case.of - case.place if case.is_best else case.place, runs[case.run.key]

    return sorted(cases, key=rank)


def choose(ranked: Sequence[Sequence[RankedCase]], room: int) -> ViewerVolumes:
    """The patients that fit into the page, by the priority of `wanted`.

    Reads one patient's files at a time.

    Args:
        ranked: patients of each run.
        room: bytes for all volumes in the page.
    """
    taken: list[dict] = []
    files: dict[str, str] = {}
    left_out: list[RankedCase] = []
    for case in wanted(ranked):
        case_files: dict[str, str] = {}
        entry = _case(case, case_files)
        if entry is None:
            continue
        new = {key: data for key, data in case_files.items() if key not in files}
        needed = _bytes(entry) + sum(len(key) + len(data) + 6 for key, data in new.items())
        # After the first patient who does not fit, all others are left out, so that ranks have no gaps.
        if left_out or needed > room:
            left_out.append(case)
            continue
        room -= needed
        files |= new
        taken.append(entry)
    order = {case.key: index for index, case in enumerate(case for run in ranked for case in run)}
    taken.sort(key=lambda entry: order[entry["key"]])
    return ViewerVolumes(tuple(taken), files, frozenset(entry["key"] for entry in taken), tuple(left_out))


def sentence(volumes: ViewerVolumes) -> str:
    """A sentence on the patients in the viewer."""
    if not volumes.cases:
        return "No patient's volumes are in this page."
    text = f"The viewer shows {len(volumes.cases)} patients: up to {WORST} worst and {BEST} best patients of each run."
    if volumes.left_out:
        names = ", ".join(f"{case.case_id} ({case.run.name})" for case in volumes.left_out)
        text += f" Left out to limit the size of the page: {names}."
    return text
