"""Writes an experiment's tables, figures and record from the scores of its cells."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
from collections.abc import Iterable, Mapping

from semicml_tf.errors import UserError
from semicml_tf.experiments import figure, markdown, results, summary, table
from semicml_tf.experiments.results import Result, Results
from semicml_tf.experiments.run_spec import Cell
from semicml_tf.system import atomic_files, digest

RECORD_VERSION = 2


def _run(run: Mapping) -> dict:
    best = {
        name: {what: best.get(what) for what in ("dice", "threshold", "step", "stage")}
        for name, best in run.get("best", {}).items()
    }
    return {
        "run_hash": run.get("run_hash"),
        "data_hash": run.get("data_hash"),
        "steps": run.get("step"),
        "best_validation": best,
    }


def _runs(result: Result) -> dict:
    if result.cell.external:
        files = [path for _, paths in result.cell.external for path in paths]
        return {"masks_metrics_sha256": [digest.sha256(path) for path in files]}
    if not result.folds:
        return _run(result.runs[0])
    return {"folds": [_run(run) for run in result.runs]}


def _cell(cell: Cell) -> dict:
    # Without the folder, which is specific to the machine.
    return {
        "row": cell.row,
        "modalities": list(cell.modalities),
        "labelled": cell.labelled,
        "seed": cell.seed,
        "flags": list(cell.flags),
    }


def _record(scored: Results, lines: list[summary.Line], head: dict) -> dict:
    versions = []
    for result in scored.done:
        if result.report["versions"] not in versions:
            versions.append(result.report["versions"])
    return {
        "record_version": RECORD_VERSION,
        **head,
        "versions": versions,
        "cells": [{**_cell(result.cell), **_runs(result)} for result in scored.done],
        "missing": [_cell(cell) for cell in scored.missing],
        "all_labelled": {"+".join(modalities): count for modalities, count in scored.all_labelled.items()},
        "blind": {
            "+".join(modalities): scored.of_set(modalities)[0].report["blind"] for modalities in scored.modality_sets
        },
        "policy": scored.done[0].report["policy"],
        "table": [_line(line) for line in lines],
    }


def _line(line: summary.Line) -> dict:
    body = dataclasses.asdict(line)
    # With one class and without folds, the record keeps its earlier format.
    further = {name: body.pop(name) for name in ("target", "sd_folds")}
    return body | {name: value for name, value in further.items() if value is not None}


def publish(
    cells: Iterable[Cell],
    output: pathlib.Path,
    *,
    reference: str,
    command: str,
    hashes: Mapping[str, str],
    baseline: str | None = None,
) -> Results:
    """Writes scores.csv, table.csv, table.md, table.png, experiment.json and, with several labelled counts, curve.png.

    With several classes, table_classes.png and curve_classes.png show each class.

    Cells that are not finished are left out, with a note below the table.

    Args:
        cells: of the whole grid.
        output: a folder; files of an earlier call are replaced, one by one.
        reference: the row that all others are compared with.
        command: that repeats the experiment.
        hashes: of the data, by name; written into the table and the record.
        baseline: the row that learns from labelled patients only; its cells with "all" are the ceiling.

    Returns:
        The scores of the finished cells.

    Raises:
        UserError: no cell is finished; cells cannot be compared (`results.read`); a row does not exist; the folder
            cannot be written.
    """
    cells = list(cells)
    rows = list(dict.fromkeys(cell.row for cell in cells))
    for what, name in (("reference", reference), ("baseline", baseline)):
        if name is not None and name not in rows:
            raise UserError(
                f"expected as {what} one of the rows {', '.join(rows)}, got '{name}'",
                remedy="Name a row of the experiment",
            )
    scored = results.read(cells)
    lines = summary.lines(scored, reference, baseline)
    scores = table.scores_csv(scored)
    hashes = {**hashes, "scores.csv (SHA-256)": hashlib.sha256(scores.encode()).hexdigest()}
    head = {"command": command, "reference": reference, "baseline": baseline, "hashes": hashes}
    page = markdown.table_md(scored, lines, **head)
    over_classes = [line for line in lines if line.target is None]
    of_classes = [line for line in lines if line.target is not None]
    drawn: dict[str, bytes | None] = dict.fromkeys(("table_classes.png", "curve_classes.png"))
    for ending, shown in (("", over_classes), ("_classes", of_classes)):
        if shown:
            drawn[f"table{ending}.png"] = figure.table_png(scored, shown, reference=reference, baseline=baseline)
            drawn[f"curve{ending}.png"] = figure.curve_png(scored, shown, reference=reference, baseline=baseline)
    output = pathlib.Path(output)
    atomic_files.write_text(output / "scores.csv", scores)
    atomic_files.write_text(output / "table.csv", table.table_csv(lines))
    for name, png in drawn.items():
        if png is None:
            # A file of an earlier grid would be mistaken for a figure of this grid.
            (output / name).unlink(missing_ok=True)
        else:
            atomic_files.write_file(output / name, lambda stream, png=png: stream.write(png))
    atomic_files.write_text(output / "table.md", page)
    atomic_files.write_json(output / "experiment.json", _record(scored, lines, head))
    return scored
