"""Numbers of an evaluation in the tables of the page. Metrics that this version does not know appear by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from semicml_tf.errors import UserError
from semicml_tf.evaluation.metrics import catalogue
from semicml_tf.evaluation.report import Mean
from semicml_tf.reporting.markup import number
from semicml_tf.system import json_files

_TITLES = {"cases": "patients"}
# The page shows these in other places.
_NOT_SHOWN = ("case_id", "outcome")


def title(name: str) -> str:
    """The heading of a column."""
    return _TITLES.get(name) or catalogue.title(name)


def is_number(value: Any) -> bool:
    """Whether a value of a JSON file is a number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def plain(name: str, value: Any) -> str:
    """A number as text. Integers have no decimals."""
    return (
        str(value) if isinstance(value, int) and not isinstance(value, bool) else number(value, catalogue.digits(name))
    )


def averaged(rows: Iterable[dict]) -> list[str]:
    """Names of the means over patients in the rows' summaries, in order."""
    values: dict[str, list[dict]] = {}
    for row in rows:
        for name, value in row["summary"].items():
            if isinstance(value, dict) and "mean" in value:
                values.setdefault(name, []).append(value)
    return [name for name, means in values.items() if all(map(_is_mean, means))]


def _is_mean(value: dict) -> bool:
    try:
        json_files.of_value(value, Mean, what="a mean")
    except UserError:
        return False
    return True


def numbers(summary: dict) -> dict[str, float]:
    """The single numbers of a summary by name. Numbers of a group have the group's name first: ``lesions_found``."""
    values_by_name = {}
    for name, value in summary.items():
        if is_number(value):
            values_by_name[name] = value
        elif isinstance(value, dict) and "mean" not in value and all(is_number(member) for member in value.values()):
            values_by_name |= {f"{name}_{key}": member for key, member in value.items()}
    return values_by_name


def counted(rows: Iterable[dict]) -> list[str]:
    """Names of the single numbers in the rows' summaries, in order."""
    return list(dict.fromkeys(name for row in rows for name in numbers(row["summary"])))


def of_cases(rows: Iterable[dict]) -> list[str]:
    """Names of the patients' numbers, in order."""
    return list(
        dict.fromkeys(
            name
            for row in rows
            for case in row["cases"]
            for name, value in case.items()
            if name not in _NOT_SHOWN and (is_number(value) or value is None)
        )
    )
