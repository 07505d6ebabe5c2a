"""Writes a record as NIfTI files, to look at the input of the network."""

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

_LONGEST_STEM = 200  # bytes; file systems allow 255


def native_units(image: np.ndarray, constants: Constants) -> np.ndarray:
    """Inverts the normalisation; returns float32. Values outside its window were clipped, and stay so."""
    values = image.astype(np.float32)
    values *= np.float32(constants.scale)
    values += np.float32(constants.center)
    # The rounding to float16 can give values outside the window.
    return np.clip(values, np.float32(constants.low), np.float32(constants.high), out=values)


def file_stem(case_id: str) -> str:
    """A file name for `case_id` without its ending: no separators, not hidden, at most 200 bytes."""
    stem = re.sub(r"[/\\\0]|^\.", "_", printable(case_id))
    if len(stem.encode()) <= _LONGEST_STEM:
        return stem
    digest = hashlib.sha256(case_id.encode()).hexdigest()[:8]
    return f"{stem.encode()[: _LONGEST_STEM - 9].decode(errors='ignore')}-{digest}"


def write_case(folder: str | pathlib.Path, record: CaseRecord, *, overwrite: bool = False) -> list[str]:
    """Writes a record's images, labels and numbers.

    `CASE_MODALITY.nii.gz` (float32, native units) and `CASE_label.nii.gz` are on the record's grid,
    `CASE_native_label.nii.gz` on the patient's own. Labels contain class codes. `CASE.json` contains the constants of
    the normalisation and the place of the crop.

    Args:
        folder: created if missing. Each file is written atomically.
        record: the record.
        overwrite: whether to replace existing files.

    Returns:
        The files' names.

    Raises:
        UserError: the folder cannot be written to, or such a file exists and `overwrite` is False.
    """
    folder, stem = pathlib.Path(folder), file_stem(record.case_id)
    labels = {}
    if record.label is not None:
        labels = {
            f"{stem}_label.nii.gz": (record.label, record.grid),
            f"{stem}_native_label.nii.gz": (record.native_label, record.native_grid),
        }
    names = [*(f"{stem}_{name}.nii.gz" for name in record.images), *labels, f"{stem}.json"]
    existing = [name for name in names if (folder / name).exists()]
    if existing and not overwrite:
        raise UserError(
            "this file exists already", path=folder / existing[0], remedy="Choose another, or pass --overwrite"
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
