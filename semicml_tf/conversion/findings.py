"""What verification finds: data first, then a table for people."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

ERROR, WARNING = "error", "warning"


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is wrong or odd.

    Attributes:
        code: what kind of thing, e.g. ``missing_file``; stable, for programs.
        severity: ``error`` (the case cannot be used) or ``warning``.
        case: name of the case; "" where it is the whole input.
        file: the file concerned; "" if none.
        problem: what was expected and what came.
        remedy: what to do about it.
    """

    code: str
    severity: str
    case: str
    file: str
    problem: str
    remedy: str


@dataclasses.dataclass(frozen=True)
class CaseReport:
    """What looking at one case told. Travels as JSON.

    Attributes:
        case_id: name of the case.
        findings: about it alone.
        images: facts by modality name (see `conversion.facts`).
        label: facts of the label's foreground; None where the label was not to be read, or could not be.
        digests: SHA-256 of each source, by modality name and ``label``.
    """

    case_id: str
    findings: tuple[Finding, ...]
    images: Mapping[str, Mapping[str, Any]]
    label: Mapping[str, Any] | None
    digests: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """JSON values; `from_json` is the way back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> CaseReport:
        """The report that `to_json` told."""
        findings = tuple(Finding(**finding) for finding in body["findings"])
        return cls(**{**body, "findings": findings})
