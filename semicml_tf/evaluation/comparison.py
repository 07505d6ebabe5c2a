"""Several evaluated runs in one Markdown table."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from semicml_tf.errors import UserError
from semicml_tf.evaluation import report, table


def _check_same(first: dict, other: dict, path: str | pathlib.Path, first_path: str | pathlib.Path) -> None:
    def scored(body):
        # Row by row: a row holds the patients that have the modality that it reads.
        return [[case["case_id"] for case in row["cases"]] for row in body["rows"]]

    for what, left, right in (
        ("data hash", first["dataset"]["data_hash"], other["dataset"]["data_hash"]),
        ("partition", first["partition"], other["partition"]),
        ("policy", first["policy"], other["policy"]),
        ("patients", scored(first), scored(other)),
        ("blind rows", first["blind"], other["blind"]),
    ):
        if left != right:
            shown = f": {right} is not {left}" if isinstance(left, (str, float)) else ""
            raise UserError(
                f"cannot be compared with {first_path}, its {what} differs{shown}",
                path=path,
                remedy="Evaluate every run on one dataset and partition (--dataset, --partition, --allow_other_data)",
            )


def comparison_table(paths: Sequence[str | pathlib.Path], names: Sequence[str]) -> str:
    """One row per run and modality, then the two blind rows once.

    Args:
        paths: of `metrics.json` files.
        names: the runs' names in the table, one each.

    Returns:
        Markdown.

    Raises:
        UserError: the runs were not scored on the same patients of the same data in the same way.
    """
    if not paths or len(paths) != len(names):
        raise UserError(
            f"expected as many names as runs, got {len(names)} names and {len(paths)} runs",
            remedy="Pass --names=NAME_A,NAME_B in the order of --compare",
        )
    reports = [report.load(path) for path in paths]
    for path, body in zip(paths[1:], reports[1:]):
        _check_same(reports[0], body, path, paths[0])
    rows = [
        [name, table.row_title(row["modality"], row, body), *table.cells(row["summary"])]
        for name, body in zip(names, reports)
        for row in report.networks(body)
    ]
    rows += [
        [table.row_title(row["name"], row, reports[0]), "", *table.cells(row["summary"])]
        for row in report.blind_rows(reports[0])
    ]
    patients = len(report.patients(reports[0]))
    notes = [
        f"Partition '{reports[0]['partition']}', {patients} patients, mean ± sd over patients.",
        *(f"{note}." for note in table.blind_notes(reports[0])),
        *table.lacking_notes(reports[0]),
        *(f"{name}: {note}" for name, body in zip(names, reports) for note in table.paired_notes(body)),
        *(f"{name}: {note}" for name, body in zip(names, reports) for note in body["notes"]),
    ]
    return table.markdown(["run", "modality", *table.HEADINGS], rows) + "\n" + "".join(f"{note}  \n" for note in notes)
