"""A record written back to NIfTI files, for a person to look at what the network gets."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
import re

import numpy as np

from semicml_tf.errors import UserError, printable
from semicml_tf.files.nifti.writer import write_on_grid
from semicml_tf.preprocessing.normalisation import Constants
from semicml_tf.records.case_record import CaseRecord
from semicml_tf.system import atomic_files

_LONGEST_STEM = 200  # bytes; systems take 255


def native_units(image: np.ndarray, constants: Constants) -> np.ndarray:
    """The inverse of the normalisation; what lay outside its window comes back as the window's end. float32."""
    values = image.astype(np.float32)
    values *= np.float32(constants.scale)
    values += np.float32(constants.center)
    # A last bit of float16 must not lead out of the window.
    return np.clip(values, np.float32(constants.low), np.float32(constants.high), out=values)


def file_stem(case_id: str) -> str:
    """`case_id` as the start of a file's name: without separators, not hidden, and with room for an ending."""
    stem = re.sub(r"[/\\\0]|^\.", "_", printable(case_id))
    if len(stem.encode()) <= _LONGEST_STEM:
        return stem
    digest = hashlib.sha256(case_id.encode()).hexdigest()[:8]
    return f"{stem.encode()[: _LONGEST_STEM - 9].decode(errors='ignore')}-{digest}"


def write_case(folder: str | pathlib.Path, record: CaseRecord, *, overwrite: bool = False) -> list[str]:
    """Writes a record's images, labels and numbers.

    `CASE_MODALITY.nii.gz` (float32, native units) and `CASE_label.nii.gz` lie on the record's grid,
    `CASE_native_label.nii.gz` on the patient's own; both hold codes of the classes. `CASE.json` holds what made them.

    Args:
        folder: made where it is not there; each file in it appears whole or not at all.
        overwrite: replace files of that name.

    Returns:
        The files' names.

    Raises:
        UserError: the folder cannot be written to, or holds such a file already.
    """
    folder, stem = pathlib.Path(folder), file_stem(record.case_id)
    labels = {}
    if record.label is not None:
        labels = {
            f"{stem}_label.nii.gz": (record.label, record.grid),
            f"{stem}_native_label.nii.gz": (record.native_label, record.native_grid),
        }
    names = [*(f"{stem}_{name}.nii.gz" for name in record.images), *labels, f"{stem}.json"]
    there = [name for name in names if (folder / name).exists()]
    if there and not overwrite:
        raise UserError(
            "this file is there already", path=folder / there[0], remedy="Choose another, or pass --overwrite"
        )
    for name, image in record.images.items():
        write_on_grid(folder / f"{stem}_{name}.nii.gz", native_units(image, record.constants[name]), record.grid)
    for name, (mask, grid) in labels.items():
        write_on_grid(folder / name, mask, grid)
    body = {
        "case_id": record.case_id,
        "constants": {name: dataclasses.asdict(value) for name, value in record.constants.items()},
        "crop_offset": list(record.crop_offset),
        "full_shape": list(record.full_grid.shape),
        "axis_order": ["slice", "row", "column"],
        **({} if record.labels.is_plain else {"labels": record.labels.to_json()}),
    }
    atomic_files.write_json(folder / names[-1], body)
    return names
