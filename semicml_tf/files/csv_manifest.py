"""A CSV file that names each case's files: columns ``case``, one a modality, ``label``, ``partition``, ``patient``.

Paths are relative to the CSV file, or absolute. A folder is a DICOM series, a label that ends in .dcm is a DICOM-SEG
or an RTSTRUCT. ``label``, ``partition`` and ``patient`` may be left out or left empty; the cell of a modality is empty
where the case lacks it.
"""

from __future__ import annotations

import csv
import os
import pathlib
from collections.abc import Mapping, Sequence

from semicml_tf.errors import UserError
from semicml_tf.files import folder as folders
from semicml_tf.files import inventory
from semicml_tf.files.case import CaseFiles
from semicml_tf.files.modality_names import spelled
from semicml_tf.files.options import DEFAULT, LayoutOptions
from semicml_tf.files.source import NiftiFile, Source

NAME = "csv"
DESCRIPTION = "a CSV file with the columns case, one a modality, label, partition, patient"
_OTHER_COLUMNS = ("case", "label", "partition", "patient")


def detect(root: pathlib.Path) -> bool:
    """Whether `root` looks like this layout."""
    return os.path.isfile(root) and root.suffix.lower() == ".csv"


def _rows(path: pathlib.Path) -> tuple[list[str], list[dict]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            # Spreadsheets write semicolons where the comma is the decimal point.
            header = stream.readline()
            stream.seek(0)
            semicolons = ";" in header and "," not in header
            reader = csv.DictReader(stream, skipinitialspace=True, delimiter=";" if semicolons else ",")
            columns = reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"expected a CSV file in UTF-8, but it cannot be read ({error})",
            path=path,
            remedy="Pass the CSV as --input",
        ) from error
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise UserError(f"the column '{twice[0]}' is there twice", path=path, remedy="Remove or rename one of them")
    for line, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise UserError(f"row {line} has more or fewer cells than the header's {len(columns)}", path=path)
    return columns, rows


def holds_patient_names(root: pathlib.Path) -> bool:
    """Whether it names DICOM: series, which are folders, or label objects. Their paths may be patients' own names."""
    columns, rows = _rows(root)
    images = [name for name in columns if name and name not in _OTHER_COLUMNS]
    cells = [(name, (row.get(name) or "").strip()) for row in rows for name in (*images, "label")]
    return any(
        cell and (cell.lower().endswith(".dcm") if name == "label" else os.path.isdir(root.parent / cell))
        for name, cell in cells
    )


def modalities(root: pathlib.Path) -> tuple[str, ...]:
    """Names of the modalities that there are."""
    return tuple(name for name in _rows(root)[0] if name and name not in _OTHER_COLUMNS)


def describe(root: pathlib.Path, options: LayoutOptions = DEFAULT) -> str:
    """What was found, in one sentence; raises as `find`."""
    return inventory.tell("CSV manifest", find(root, modalities(root), options))


def find(root: pathlib.Path, modalities: Sequence[str], options: LayoutOptions = DEFAULT) -> list[CaseFiles]:
    """Lists the cases, sorted by name.

    Args:
        root: the CSV file.
        modalities: names to look for.
        options: what the user says of the folder.

    Raises:
        UserError: a missing column or case name; a case in two rows; a folder that is no DICOM series.
    """
    columns, rows = _rows(root)
    column = {name: spelled(name, [one for one in columns if one not in _OTHER_COLUMNS]) for name in modalities}
    for name in ("case", *modalities):
        if column.get(name, name) not in columns:
            raise UserError(
                f"expected a column '{name}', got {', '.join(columns) or 'none'}",
                path=root,
                remedy="Add the column, or correct --modalities",
            )
    cases: dict[str, CaseFiles] = {}
    for line, row in enumerate(rows, start=2):
        cell = {name: (row.get(column.get(name, name)) or "").strip() for name in (*_OTHER_COLUMNS, *modalities)}
        if not any(row.values()):
            continue
        case_id = folders.case_name(cell["case"])
        if not case_id:
            raise UserError(f"row {line}: the cell 'case' is empty", path=root, remedy="Fill it, or drop the row")
        if case_id in cases:
            raise UserError(f"row {line}: case {case_id} is there twice", path=root, remedy="Give each case one row")
        images = {name: _image(root.parent / cell[name]) for name in modalities if cell[name]}
        label, label_on = _label(root.parent / cell["label"], images, options) if cell["label"] else (None, None)
        cases[case_id] = CaseFiles(
            case_id=case_id,
            images=images,
            label=label,
            label_on=label_on,
            partition=cell["partition"] or None,
            patient_id=folders.case_name(cell["patient"]),
        )
    return [cases[name] for name in sorted(cases)]


def _image(path: pathlib.Path) -> Source:
    if os.path.isdir(path):
        from semicml_tf.files.dicom_series import open_series

        return open_series(path)
    return NiftiFile(path)


def _label(path: pathlib.Path, images: Mapping[str, Source], options: LayoutOptions) -> tuple[Source, Source | None]:
    """The label, and the image that it was drawn on where it tells that itself."""
    if path.suffix.lower() != ".dcm":
        return NiftiFile(path), None
    from semicml_tf.files import dicom_scan
    from semicml_tf.files.dicom_labels import DicomLabel
    from semicml_tf.files.dicom_series import DicomSeries

    series = [source for source in images.values() if isinstance(source, DicomSeries)]
    told = {uid for one in dicom_scan.scan(path.parent).headers if one.path == path for uid in one.references}
    drawn_on = next((source for source in series if source.series_uid in told), None)
    if drawn_on is None and len(series) == 1:
        drawn_on = series[0]
    label = DicomLabel((path,), drawn_on, options.label_roi)
    return label, drawn_on or label
