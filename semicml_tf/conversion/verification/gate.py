"""What verification's findings mean for a conversion: errors stop it, unless their cases are left out."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from semicml_tf.conversion.verification.findings import ERROR, Finding, ordered
from semicml_tf.errors import UserError


def errors(findings: Sequence[Finding]) -> list[Finding]:
    """The findings that stop a conversion, in the order in which they are told."""
    return [finding for finding in ordered(findings) if finding.severity == ERROR]


def refuse(findings: Sequence[Finding], report: pathlib.Path) -> None:
    """Stops where there is an error.

    Args:
        report: the file in which all of them are.

    Raises:
        UserError: the only one, or their number and the first of them.
    """
    found = errors(findings)
    if not found:
        return
    first = found[0]
    problem = first.problem
    if first.case and first.case not in f"{first.file} {problem}":
        problem = f"case {first.case}: {problem}"
    if len(found) == 1:
        raise UserError(problem, path=first.file or None, remedy=first.remedy)
    cases = len({finding.case for finding in found})
    # One remedy for all of them goes before the remedy that leaves cases out.
    shared = f"{first.remedy}. " if len({finding.remedy for finding in found}) == 1 else ""
    raise UserError(
        f"{len(found)} errors in {cases} case{'s' if cases > 1 else ''}, the first: {problem}",
        path=first.file or None,
        remedy=f"{shared}All are in {report}; mend them, or pass --skip_bad_cases to leave these cases out",
    )


def bad_cases(findings: Sequence[Finding]) -> list[str]:
    """The cases with an error.

    Raises:
        UserError: an error is no single case's: leaving cases out would not mend it.
    """
    found = errors(findings)
    for finding in found:
        if not finding.case:
            raise UserError(finding.problem, path=finding.file or None, remedy=finding.remedy)
    return sorted({finding.case for finding in found})
