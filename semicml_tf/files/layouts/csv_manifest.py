"""A CSV file with the files of each case: columns ``case``, one per modality, ``label``, ``partition``, ``patient``::

    case,ct,pet,label,patient
    P1,P1_ct.nii.gz,P1_pet.nii.gz,P1_label.nii.gz,P1
    P2,~/scans/P2/CT,~/scans/P2/PET,,P2

Paths are relative to the CSV file, absolute, or begin with ``~``. A folder is a DICOM series, and a label that ends in
.dcm is a DICOM-SEG or an RTSTRUCT. ``label``, ``partition`` and ``patient`` are optional, and their cells may be empty.
The cell of a missing modality is empty. Cells are separated by commas, semicolons or tabs. The separator is the most
frequent one in the header, or is given by a line ``sep=;`` before the header. Lines that begin with ``#`` are comments.
"""

from __future__ import annotations

import csv
import io
import os
import pathlib
import re
from collections.abc import Mapping, Sequence

from semicml_tf.errors import UserError
from semicml_tf.files.case import CaseFiles
from semicml_tf.files.layouts import folder as folders
from semicml_tf.files.layouts import summary
from semicml_tf.files.layouts.modality_names import spelled
from semicml_tf.files.layouts.options import DEFAULT, LayoutOptions
from semicml_tf.files.source import NiftiFile, Source
from semicml_tf.preprocessing.normalisation import usual

NAME = "csv"
DESCRIPTION = "a CSV file with the columns case, one per modality, label, partition, patient"
_MOST_BYTES = 1 << 26
_OTHER_COLUMNS = ("case", "label", "partition", "patient")
# Names of columns that most likely contain labels, not a modality.
_LIKE_LABEL = re.compile(
    r"(labels?|masks?|seg|segmentations?|gt|ground[ _-]?truth|annotations?)[ _-]?\d*", re.IGNORECASE
)


def detect(root: pathlib.Path) -> bool:
    """Whether `root` looks like this layout."""
    return os.path.isfile(root) and root.suffix.lower() == ".csv"


def _rows(path: pathlib.Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The columns, and for each row the number of its first line and its cells by column.

    Raises:
        UserError: the file is no CSV file, a quote is not closed, a column exists twice, or the number of cells differs
            between a row and the header.
    """
    try:
        numbered = enumerate(io.StringIO(_text(path), newline=""), start=1)
        lines = {number: line for number, line in numbered if line.strip() and not line.startswith("#")}
        first = next(iter(lines), 0)
        # Spreadsheets write semicolons in languages with a decimal comma.
        delimiter = max(",;\t", key=lines.get(first, "").count)
        if separator := re.fullmatch(r"\"?sep=(.)\"?\s*", lines.get(first, ""), re.IGNORECASE):
            delimiter = separator[1]
            del lines[first]
        rows = _numbered(lines, delimiter, path)
    except (OSError, ValueError) as error:  # ValueError: the file is no text, or the delimiter is invalid
        raise UserError(
            f"expected a CSV file in UTF-8, but it cannot be read ({error})",
            path=path,
            remedy=f"Save it as CSV in UTF-8. {_example(('ct', 'pet'))}",
        ) from error
    rows = [(line, row) for line, row in rows if any(row)]
    columns = rows[0][1] if rows else []
    while columns and not columns[-1]:  # spreadsheets write cells of emptied columns
        columns.pop()
    columns = [name.lower() if name.lower() in _OTHER_COLUMNS else name for name in columns]
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise UserError(f"the column '{twice[0]}' is there twice", path=path, remedy="Remove or rename one of them")
    for line, row in rows[1:]:
        if len(row) < len(columns) or any(row[len(columns) :]):
            raise UserError(
                f"row {line} has more or fewer cells than the header's {len(columns)}",
                path=path,
                remedy="Quote cells that contain a separator, and keep empty cells",
            )
    return columns, [(line, dict(zip(columns, row))) for line, row in rows[1:]]


def _numbered(lines: Mapping[int, str], delimiter: str, path: pathlib.Path) -> list[tuple[int, list[str]]]:
    """The rows, each with the number of its first line; `lines` has the lines by number."""
    numbers, texts = list(lines), list(lines.values())
    dialect = {"skipinitialspace": True, "delimiter": delimiter}
    reader, rows, begin = csv.reader(texts, **dialect), [], 0
    try:
        for row in reader:
            if reader.line_num > begin + 1:  # an unclosed quote would include all rows below
                list(csv.reader(texts[begin : reader.line_num], **dialect, strict=True))
            rows.append((numbers[begin], [cell.strip() for cell in row]))
            begin = reader.line_num
    except csv.Error as error:
        quoted = "a quote begins in this row and is not closed" if '"' in texts[begin] else "cannot be read"
        raise UserError(
            f"row {numbers[begin]}: {quoted} ({error})",
            path=path,
            remedy="Close each quote at the end of its cell, or remove it",
        ) from error
    return rows


def _text(path: pathlib.Path) -> str:
    with open(path, "rb") as stream:
        content = stream.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError(f"the file has more than {_MOST_BYTES} bytes")
    # Spreadsheets export "Unicode text" as UTF-16.
    return content.decode("utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8").lstrip("\ufeff")


def _example(modalities: Sequence[str]) -> str:
    """Two lines of a manifest, for messages."""
    header = ",".join(("case", *modalities, "label", "patient"))
    row = ",".join(("P1", *(f"P1_{name}.nii.gz" for name in modalities), "P1_label.nii.gz", "P1"))
    return f"For example, the first two lines: {header} / {row}"


def _path(root: pathlib.Path, cell: str) -> pathlib.Path:
    return root.parent / os.path.expanduser(cell)


def holds_patient_names(root: pathlib.Path) -> bool:
    """Whether the manifest names DICOM series (folders) or labels, whose paths may contain names of patients."""
    columns, rows = _rows(root)
    images = [name for name in columns if name and name not in _OTHER_COLUMNS]
    cells = [(name, row.get(name) or "") for _, row in rows for name in (*images, "label")]
    return any(
        cell and (cell.lower().endswith(".dcm") if name == "label" else _is_series(_path(root, cell)))
        for name, cell in cells
    )


def _columns_of(modalities: Sequence[str], columns: Sequence[str]) -> dict[str, str]:
    """The column of each modality, in any spelling; see `modality_names.spelled`."""
    others = [name for name in columns if name not in _OTHER_COLUMNS]
    return {name: spelled(name, others) for name in modalities}


def modalities(root: pathlib.Path) -> tuple[str, ...]:
    """Names of the modality columns: those with the name of a known modality, or with existing files."""
    columns, rows = _rows(root)
    return tuple(name for name in columns if name not in _OTHER_COLUMNS and _is_modality(name, rows, root))


def _is_modality(column: str, rows: Sequence[tuple[int, Mapping[str, str]]], root: pathlib.Path) -> bool:
    if not column or _LIKE_LABEL.fullmatch(column):
        return False
    return usual(column) is not None or any(
        row[column] and os.path.lexists(_path(root, row[column])) for _, row in rows
    )


def describe(root: pathlib.Path, options: LayoutOptions = DEFAULT) -> str:
    """What the folder contains, in one sentence; raises as `find`."""
    return summary.describe("CSV manifest", find(root, modalities(root), options))


def oddities(root: pathlib.Path, asked: Sequence[str], options: LayoutOptions = DEFAULT) -> list[summary.Oddity]:
    """The columns that are not read; see `catalogue.choose`.

    Raises:
        UserError: an unused column most likely contains the labels, and there is no column ``label``; or a label file
            does not exist.
    """
    columns, rows = _rows(root)
    missing = [name for name in _OTHER_COLUMNS if name not in columns]
    read = (*_OTHER_COLUMNS, *_columns_of(asked, columns).values())
    unused = [name for name in columns if name and name not in read]
    labels = [name for name in unused if _LIKE_LABEL.fullmatch(name)]
    if labels and "label" in missing:
        raise UserError(
            f"expected the labels in a column 'label', which is missing; unused: {', '.join(unused)}",
            path=root,
            remedy=f"Did you mean 'label'? Rename the column '{labels[0]}', or remove it if it has no labels",
        )
    for line, row in rows:
        # Otherwise the case would count as unlabelled.
        if row.get("label") and not os.path.exists(_path(root, row["label"])):
            raise UserError(
                f"row {line}, case {folders.case_name(row.get('case', ''))}: the label file does not exist",
                path=_path(root, row["label"]),
                remedy="Correct the cell, or leave it empty for an unlabelled case",
            )
    # An unused modality is no problem, unless there is no label column: then it may contain the labels.
    if "label" not in missing:
        unused = [name for name in unused if not _is_modality(name, rows, root)]
    if not unused:
        return []
    absent = f"no column {' and no column '.join(repr(name) for name in missing)}; " if missing else ""
    return [
        summary.Oddity(
            "unused_column",
            root,
            f"{absent}unused columns: {', '.join(unused)}",
            "Rename a column that should be read to case, label, partition, patient or the name of a modality",
        )
    ]


def find(root: pathlib.Path, modalities: Sequence[str], options: LayoutOptions = DEFAULT) -> list[CaseFiles]:
    """Lists the cases, sorted by name.

    Args:
        root: the CSV file.
        modalities: names to look for.
        options: the user's choices for the folder.

    Raises:
        UserError: a column or case name is missing, a case is in two rows, or a folder is no DICOM series.
    """
    columns, rows = _rows(root)
    column = _columns_of(modalities, columns)
    missing = [name for name in ("case", *modalities) if column.get(name, name) not in columns]
    if missing:
        unused = [name for name in columns if name and name not in (*_OTHER_COLUMNS, *column.values())]
        raise UserError(
            f"expected a column '{missing[0]}', got {', '.join(columns) or 'none'}"
            + (f"; unused: {', '.join(unused)}" if unused else ""),
            path=root,
            remedy=f"Add or rename the column, or correct --modalities. {_example(modalities)}",
        )
    if not rows:
        raise UserError("this manifest has no cases: no row follows its header", path=root, remedy=_example(modalities))
    cases: dict[str, CaseFiles] = {}
    for line, row in rows:
        cell = {name: row.get(column.get(name, name), "") for name in (*_OTHER_COLUMNS, *modalities)}
        case_id = folders.case_name(cell["case"])
        if not case_id:
            raise UserError(f"row {line}: the cell 'case' is empty", path=root, remedy="Fill it, or drop the row")
        if case_id in cases:
            raise UserError(f"row {line}: case {case_id} is there twice", path=root, remedy="Give each case one row")
        images = {
            name: _image(_path(root, cell[name]), f"row {line}, case {case_id}, '{name}'")
            for name in modalities
            if cell[name]
        }
        label, label_on = _label(_path(root, cell["label"]), images, options) if cell["label"] else (None, None)
        cases[case_id] = CaseFiles(
            case_id=case_id,
            images=images,
            label=label,
            label_on=label_on,
            partition=cell["partition"] or None,
            patient_id=folders.case_name(cell["patient"]),
        )
    return [cases[name] for name in sorted(cases)]


def _is_series(path: pathlib.Path) -> bool:
    return os.path.isdir(path) and not folders.is_nifti(path.name)


def _image(path: pathlib.Path, cell: str) -> Source:
    """The image at `path`; `cell` is its place in the manifest, for messages."""
    if not _is_series(path):
        return NiftiFile(path)
    from semicml_tf.files.dicom.series import open_series

    try:
        return open_series(path)
    except UserError as error:
        problem = f"{cell}: this is a folder; {error.problem}"
        raise UserError(problem, path=error.path, remedy=error.remedy) from error


def _label(path: pathlib.Path, images: Mapping[str, Source], options: LayoutOptions) -> tuple[Source, Source | None]:
    """The label; and for DICOM, the image on which it was drawn, or else the label itself."""
    if path.suffix.lower() != ".dcm":
        return NiftiFile(path), None
    from semicml_tf.files.dicom import scan
    from semicml_tf.files.dicom.labels import DicomLabel
    from semicml_tf.files.dicom.series import DicomSeries

    series = [source for source in images.values() if isinstance(source, DicomSeries)]
    headers = [header for header in scan.scan(path.parent).headers if header.path == path]
    references = {uid for header in headers for uid in header.references}
    drawn_on = next((source for source in series if source.series_uid in references), None)
    if drawn_on is None and len(series) == 1:
        drawn_on = series[0]
    label = DicomLabel.of((path,), drawn_on, options)
    return label, drawn_on or label
