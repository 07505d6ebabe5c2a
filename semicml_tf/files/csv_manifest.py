"""A CSV file that names each case's files: columns ``case``, one a modality, ``label``, ``partition``.

Paths are relative to the CSV file. ``label`` and ``partition`` may be left out or left empty.
"""

from __future__ import annotations

import csv
import pathlib
from collections.abc import Sequence

from semicml_tf.errors import UserError
from semicml_tf.files.case import CaseFiles
from semicml_tf.files.options import DEFAULT, LayoutOptions
from semicml_tf.files.source import NiftiFile

NAME = "csv"
DESCRIPTION = "a CSV file with the columns case, one a modality, label, partition"


def detect(root: pathlib.Path) -> bool:
    """Whether `root` looks like this layout."""
    return root.is_file() and root.suffix.lower() == ".csv"


def _rows(path: pathlib.Path) -> tuple[list[str], list[dict]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, skipinitialspace=True)
            rows = list(reader)
            columns = list(reader.fieldnames or [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"expected a CSV file in UTF-8, but it cannot be read ({error})",
            path=path,
            remedy="Pass the CSV as --input",
        ) from error
    for line, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise UserError(f"row {line} has more or fewer cells than the header's {len(columns)}", path=path)
    return columns, rows


def find(root: pathlib.Path, modalities: Sequence[str], options: LayoutOptions = DEFAULT) -> list[CaseFiles]:
    """Lists the cases, sorted by name.

    Args:
        root: the CSV file.
        modalities: names to look for.
        options: what the user says of the folder.

    Raises:
        UserError: a missing column or cell; a case in two rows.
    """
    columns, rows = _rows(root)
    for name in ("case", *modalities):
        if name not in columns:
            raise UserError(f"expected a column '{name}', got {', '.join(columns) or 'none'}", path=root)
    cases: dict[str, CaseFiles] = {}
    for line, row in enumerate(rows, start=2):
        cell = {name: (row.get(name) or "").strip() for name in ("case", *modalities, "label", "partition")}
        for name in ("case", *modalities):
            if not cell[name]:
                who = f" of case {cell['case']}" if cell["case"] else ""
                raise UserError(
                    f"row {line}: the cell '{name}'{who} is empty", path=root, remedy="Fill it, or drop the row"
                )
        if cell["case"] in cases:
            raise UserError(
                f"row {line}: case {cell['case']} is there twice", path=root, remedy="Give each case one row"
            )
        cases[cell["case"]] = CaseFiles(
            case_id=cell["case"],
            images={name: NiftiFile(root.parent / cell[name]) for name in modalities},
            label=NiftiFile(root.parent / cell["label"]) if cell["label"] else None,
            partition=cell["partition"] or None,
        )
    return [cases[name] for name in sorted(cases)]
