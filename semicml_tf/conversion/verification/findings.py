"""Findings of verification: as data, as a table, and as the error that stops a conversion."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from typing_extensions import NotRequired, TypedDict

from semicml_tf.errors import UserError, printable
from semicml_tf.preprocessing import plausibility
from semicml_tf.preprocessing.plausibility import ERROR, WARNING
from semicml_tf.system.json_files import Count, Positive, Share

SEVERITIES = (ERROR, WARNING)
FILE_NAME = "verify.json"
VERSION = 1

# Severity and meaning of each code. Codes are stable, because programs read them.
CODES: dict[str, tuple[str, str]] = {
    "missing_file": (ERROR, "a file of an image or a label is missing, or the layout names none"),
    "missing_modality": (WARNING, "an image is missing, and --allow_missing_modality is set"),
    "unclaimed_file": (WARNING, "an image or label file in the input's folders belongs to no case"),
    "case_count_differs": (WARNING, "the number of cases differs from dataset.json"),
    "unused_column": (WARNING, "a CSV manifest has columns that are not read"),
    "near_match": (WARNING, "a misnamed file is used, because --accept_near_matches is set"),
    "unreadable_image": (ERROR, "an image cannot be read: damaged, empty, not 3-D, no affine"),
    "unexpected": (ERROR, "a case raised an unexpected exception; its traceback is in OUTPUT.debug.log"),
    "header_contradicts": (
        WARNING,
        "fields of a NIfTI header contradict each other, but the volume can be read without them",
    ),
    "not_finite": (ERROR, "voxels are NaN or infinite"),
    "unreadable_label": (ERROR, "a label map cannot be read, or has values that are no integers"),
    **plausibility.GRID_CODES,
    "overlap_too_small": (ERROR, "a modality covers less than half of the reference's box"),
    "extent_differs": (WARNING, "a modality ends before the reference's box, by most of a slice or more"),
    "slices_offset": (WARNING, "slices of two modalities have the same distance, but are offset against each other"),
    "orientation_differs": (WARNING, "the axes of two modalities are turned by more than 20 degrees"),
    **plausibility.VALUE_CODES,
    "label_elsewhere": (ERROR, "a label map is not on the grid of the image on which it was drawn"),
    "label_values": (ERROR, "a label map has values that are neither foreground nor background"),
    "empty_label": (ERROR, "a label map has no foreground"),
    "class_missing": (WARNING, "a label has no segment or structure of a class of --label_rois"),
    "region_outside": (WARNING, "a region of --label_rois lies partly outside one that contains it in most cases"),
    "label_contours": (WARNING, "contours of a structure are unused, stored twice, or skip slices"),
    "label_volume_changed": (WARNING, "a label's volume changed by more than a third when it was resampled"),
    "tiny_label": (WARNING, "the foreground is a few voxels"),
    "large_label": (WARNING, "the foreground is more than half of its volume"),
    "whole_label": (ERROR, "the foreground is nearly the whole volume: the label may be inverted"),
    "label_outside_image": (WARNING, "part of the foreground lies outside a modality's box"),
    "label_displaced": (WARNING, "the labelled lesion's uptake lies in the air beside the body in CT"),
    "uptake_in_air": (WARNING, "uptake of a lesion's strength lies in the air beside the body in CT"),
    "same_image_twice": (ERROR, "two modalities of a case are the same image"),
    "image_in_two_partitions": (ERROR, "the same image is in cases of two partitions"),
    "image_in_two_cases": (WARNING, "the same image is in two cases of a partition"),
    "label_in_two_cases": (WARNING, "two cases have the same label map"),
    "patient_in_two_partitions": (ERROR, "studies of one patient are in two partitions"),
    "ids_alike": (WARNING, "names of two cases differ only in upper and lower case, spaces or the form of letters"),
    "unlike_the_others": (WARNING, "a case's spacing, size or intensities are far from those of the other cases"),
}


@dataclasses.dataclass(frozen=True)
class Finding:
    """One problem of a case or of the input.

    Attributes:
        code: kind of the problem, a key of CODES; stable, for programs.
        severity: ``error`` (the case cannot be used) or ``warning``.
        case: name of the case; "" for the whole input.
        file: path of the file; "" for no file.
        problem: what was expected and what was received.
        remedy: what to do.
    """

    code: str
    severity: str
    case: str
    file: str
    problem: str
    remedy: str

    def __post_init__(self):
        if self.code not in CODES:
            raise ValueError(f"expected one of {', '.join(CODES)}, got code '{self.code}'")
        if self.severity not in SEVERITIES:
            raise ValueError(f"expected one of {', '.join(SEVERITIES)}, got severity '{self.severity}'")

    @classmethod
    def of(
        cls, code: str, problem: str, *, case: str = "", file: str | os.PathLike | None = None, remedy: str = ""
    ) -> Finding:
        """A finding with the severity of its code."""
        return cls(code, CODES[code][0], case, "" if file is None else os.fspath(file), problem, remedy)

    @classmethod
    def of_error(cls, code: str, error: UserError, *, case: str = "") -> Finding:
        """The finding of an error, with the code of the error if it has one, else with `code`."""
        code = error.code if error.code in CODES else code
        return cls.of(code, error.problem, case=case, file=error.path, remedy=error.remedy or "")


_Three = tuple[float, float, float]
_Corners = tuple[_Three, _Three]
_Row = tuple[float, float, float, float]
_Percentiles = TypedDict("_Percentiles", dict.fromkeys(("0.5", "5", "25", "50", "75", "95", "99.5"), float))
_LabelPercentiles = TypedDict("_LabelPercentiles", dict.fromkeys(("0.5", "50", "99.5"), float))


class _GridFacts(TypedDict):
    shape: tuple[Positive, Positive, Positive]
    spacing_mm: _Three
    extent_mm: _Three


class _BodyFacts(TypedDict):
    fraction: Share
    extent_mm: _Three | None
    box_mm: _Corners | None


class ImageFacts(TypedDict):
    """See `conversion.verification.statistics.image_facts`."""

    shape: tuple[Positive, Positive, Positive]
    spacing_mm: _Three
    orientation: str
    affine: tuple[_Row, _Row, _Row, _Row]
    grid: _GridFacts
    min: float
    max: float
    integral: bool
    mean: float | None
    std: float | None
    percentiles: _Percentiles | None
    core_median: float | None
    core_fraction: Share | None
    body: _BodyFacts
    voxels_sha256: NotRequired[str]


class _FactsInLabel(TypedDict):
    covered: Share
    mean: float | None
    std: float | None
    percentiles: _LabelPercentiles | None


class LabelFacts(TypedDict):
    """See `label_facts` and `class_facts` of `conversion.verification.statistics`."""

    voxels: Count
    volume_ml: float
    lesions: Count
    largest_extent_mm: float | None
    extent_mm: _Three | None
    box_mm: _Corners | None
    touches_border: bool
    images: dict[str, _FactsInLabel]
    # Missing if the target is plain.
    classes: NotRequired[dict[str, Count]]
    ignored: NotRequired[Count]
    # Only for regions of --label_rois: see `voxels_outside`.
    outside: NotRequired[dict[str, dict[str, Count]]]


@dataclasses.dataclass(frozen=True)
class CaseReport:
    """The result of verifying one case, which workers pass on as JSON.

    Attributes:
        case_id: name of the case.
        findings: findings about this case only.
        images: statistics by modality name (see `conversion.verification.statistics`), with ``voxels_sha256``. Unlike
            the file's digest, this hash does not depend on the compression of the file.
        label: statistics of the label's foreground; None if the label was not read or cannot be read.
        digests: SHA-256 of each source, by modality name and ``label``.
    """

    case_id: str
    findings: tuple[Finding, ...]
    images: Mapping[str, ImageFacts]
    label: LabelFacts | None
    digests: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values; see `from_json`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> CaseReport:
        """The report from the JSON values of `to_json`."""
        findings = tuple(_of_fields(Finding, finding) for finding in body["findings"])
        return _of_fields(cls, {**body, "findings": findings})


def _of_fields(kind: type, body: Mapping[str, Any]) -> Any:
    return kind(**{field.name: body[field.name] for field in dataclasses.fields(kind)})


def count(findings: Iterable[Finding], severity: str) -> int:
    """The number of findings of this severity."""
    return sum(finding.severity == severity for finding in findings)


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """Errors first, then by code as CODES lists them, then by case and file."""
    place = {code: number for number, code in enumerate(CODES)}
    return sorted(
        findings,
        key=lambda f: (SEVERITIES.index(f.severity), place[f.code], f.case, f.file, f.problem),
    )


def as_json(findings: Sequence[Finding], *, cases: int, command: str) -> dict[str, Any]:
    """The contents of `verify.json`.

    Args:
        findings: all findings, in any order.
        cases: number of verified cases.
        command: command line of the verification.
    """
    return {
        "version": VERSION,
        "command": command,
        "cases": cases,
        "errors": count(findings, ERROR),
        "warnings": count(findings, WARNING),
        "findings": [dataclasses.asdict(finding) for finding in ordered(findings)],
    }


def errors(findings: Sequence[Finding]) -> list[Finding]:
    """The findings that stop a conversion, in the order of the table."""
    return [finding for finding in ordered(findings) if finding.severity == ERROR]


def refuse(findings: Sequence[Finding], report: pathlib.Path) -> None:
    """Raises the errors among the findings as one `UserError`.

    Args:
        findings: all findings.
        report: file that lists them.

    Raises:
        UserError: the only error, or the number of errors and the first of them.
    """
    stopping = errors(findings)
    if not stopping:
        return
    first = stopping[0]
    problem = first.problem
    if first.case and first.case not in f"{first.file} {problem}":
        problem = f"case {first.case}: {problem}"
    if len(stopping) == 1:
        raise UserError(problem, path=first.file or None, remedy=first.remedy)
    cases = len({finding.case for finding in stopping})
    # A remedy that all errors share comes before --skip_bad_cases.
    shared = f"{first.remedy}. " if len({finding.remedy for finding in stopping}) == 1 else ""
    raise UserError(
        f"{len(stopping)} errors in {cases} case{'s' if cases > 1 else ''}, the first: {problem}",
        path=first.file or None,
        remedy=f"{shared}All are in {report}; fix them, or pass --skip_bad_cases to leave these cases out",
    )


def bad_cases(findings: Sequence[Finding]) -> list[str]:
    """The cases with an error.

    Raises:
        UserError: an error concerns the whole input, so that skipping cases does not fix it.
    """
    stopping = errors(findings)
    for finding in stopping:
        if not finding.case:
            raise UserError(finding.problem, path=finding.file or None, remedy=finding.remedy)
    return sorted({finding.case for finding in stopping})


def summary(findings: Sequence[Finding], *, cases: int) -> str:
    """The numbers of cases, errors and warnings in one line."""

    def counted(number: int, noun: str) -> str:
        return f"{number} {noun}{'' if number == 1 else 's'}"

    of_each = ", ".join(counted(count(findings, severity), severity) for severity in SEVERITIES)
    return f"verified {counted(cases, 'case')}: {of_each}"


def table(findings: Sequence[Finding], *, rows_per_code: int = 5, width: int = 120) -> str:
    """A table for the screen: severity, code, case, file, problem, and the remedy below the problem.

    Findings are grouped by code. The first findings of a code are shown; the others are counted.

    Args:
        findings: in any order.
        rows_per_code: largest number of findings that are shown per code.
        width: of a line, in characters. Long file names may exceed it.
    """
    if not findings:
        return "no findings"
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in ordered(findings):
        groups.setdefault((finding.severity, finding.code), []).append(finding)
    shown = [finding for group in groups.values() for finding in group[:rows_per_code]]
    head = ("severity", "code", "case", "file")
    cells = [_cells(finding) for finding in shown]
    sizes = [max(len(row[column]) for row in (head, *cells)) for column in range(len(head))]
    indent = sum(sizes) + 2 * len(sizes)

    def row(texts: Sequence[str], text: str) -> str:
        start = "".join(f"{cell:<{size}}  " for cell, size in zip(texts, sizes))
        lines = textwrap.wrap(
            printable(text), max(width - indent, 40), break_long_words=False, break_on_hyphens=False
        ) or [""]
        return ("\n" + " " * indent).join([start + lines[0], *lines[1:]]).rstrip()

    lines = [row(head, "problem / remedy")]
    for group in groups.values():
        for place, finding in enumerate(group[:rows_per_code]):
            lines.append(row(_cells(finding), " ".join(finding.problem.split())))
            # A remedy is printed once, below the last of the rows that share it.
            following = group[place + 1 : rows_per_code][:1]
            if finding.remedy and not (following and following[0].remedy == finding.remedy):
                lines.append(row([""] * len(sizes), f"-> {' '.join(finding.remedy.split())}"))
        if len(group) > rows_per_code:
            lines.append(row([""] * len(sizes), _others(group[rows_per_code:])))
    return "\n".join(lines)


def _cells(finding: Finding) -> tuple[str, ...]:
    file = printable(os.path.basename(finding.file))
    return finding.severity, finding.code, printable(finding.case) or "-", file or "-"


def _others(findings: Sequence[Finding], names: int = 8) -> str:
    cases = list(dict.fromkeys(finding.case for finding in findings if finding.case))
    named = ", ".join(cases[:names]) + (f" and {len(cases) - names} more" if len(cases) > names else "")
    return f"... and {len(findings)} more of this code" + (f": {named}" if named else "")
