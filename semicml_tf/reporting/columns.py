"""Which numbers of an evaluation stand in a table, and how they are written; unknown ones are shown by their names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from semicml_tf.evaluation.metrics import catalogue
from semicml_tf.reporting.markup import number

_TITLES = {"cases": "patients"}
# Told in words elsewhere, or no number of a patient.
_NOT_SHOWN = ("case_id", "outcome")


def title(name: str) -> str:
    """What a column is called."""
    return _TITLES.get(name) or catalogue.title(name)


def is_number(value: Any) -> bool:
    """Whether a value of a JSON file is a number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def plain(name: str, value: Any) -> str:
    """A number as text: whole ones without decimals."""
    return (
        str(value) if isinstance(value, int) and not isinstance(value, bool) else number(value, catalogue.digits(name))
    )


def averaged(rows: Iterable[dict]) -> list[str]:
    """Names in the rows' summaries that are means over patients, in their order."""
    found = dict.fromkeys(
        name
        for row in rows
        for name, value in row.get("summary", {}).items()
        if isinstance(value, dict) and "mean" in value
    )
    return list(found)


def numbers(summary: dict) -> dict[str, float]:
    """The single numbers of a summary; those of a group of numbers (``lesions``) under its name and theirs."""
    found = {}
    for name, value in summary.items():
        if is_number(value):
            found[name] = value
        elif isinstance(value, dict) and "mean" not in value and all(is_number(held) for held in value.values()):
            found |= {f"{name}_{key}": held for key, held in value.items()}
    return found


def counted(rows: Iterable[dict]) -> list[str]:
    """Names in the rows' summaries that are single numbers, in their order."""
    return list(dict.fromkeys(name for row in rows for name in numbers(row.get("summary", {}))))


def of_cases(rows: Iterable[dict]) -> list[str]:
    """Names of the numbers that patients have, in their order."""
    return list(
        dict.fromkeys(
            name
            for row in rows
            for case in row["cases"]
            for name, value in case.items()
            if name not in _NOT_SHOWN and (is_number(value) or value is None)
        )
    )


def interval(value: dict) -> tuple[float, float] | None:
    """The confidence interval of a mean, under whatever name it stands: a pair, or two numbers low and high."""
    for name, held in value.items():
        if not any(word in name for word in ("ci", "interval", "confidence", "bootstrap")):
            continue
        if isinstance(held, dict):
            held = [held.get("low"), held.get("high")]
        if isinstance(held, list) and len(held) == 2 and all(map(is_number, held)):
            return held[0], held[1]
    return None
