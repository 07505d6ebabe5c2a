"""Comparison of evaluated runs: tables, and a paired test of every two runs in every modality."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
from collections.abc import Sequence

from semicml_tf.errors import UserError
from semicml_tf.evaluation import failures, paired_tests, report, score_table, table
from semicml_tf.evaluation.scores import summarise
from semicml_tf.system.tables import Table
from semicml_tf.system.tables import markdown as escaped

COMPARISON_VERSION = 1
# Stands for the modality of another tool's masks that belong to no single modality.
ALL_MODALITIES = "any"
FILES = ("comparison.json", "comparison.md")
METHOD = (
    "Wilcoxon's signed-rank test of DSC, two-sided, over the patients whom both runs scored in the modality; p "
    "corrected by Holm over all comparisons listed here. One training of each: a small p means that these two networks "
    "also differ on other patients, not that two other trainings of the same methods would differ"
)


def _check_same(first: dict, other: dict, path: str | pathlib.Path, first_path: str | pathlib.Path) -> None:
    of_masks = "masks" in first or "masks" in other
    is_pooled = bool(first.get("folds") or other.get("folds"))

    def scored(body):
        # Row by row: a row has the patients with its modality. Masks and runs have different rows.
        return (
            report.patients(body) if of_masks else [[case["case_id"] for case in row["cases"]] for row in body["rows"]]
        )

    def baselines(body):
        # Baselines beside masks are fitted on all modalities of the dataset. A run may have fewer.
        return None if of_masks else body["blind"]

    for what, left, right in (
        ("data hashes", first["dataset"]["data_hash"], other["dataset"]["data_hash"]),
        # The dataset itself has the patients of a cross-validation in another partition.
        ("partitions", *((None, None) if of_masks and is_pooled else (first["partition"], other["partition"]))),
        ("policies", *report.shared_policy(first, other)),
        ("patients", scored(first), scored(other)),
        ("no-network baselines", baselines(first), baselines(other)),
        ("classes", first.get("labels"), other.get("labels")),
    ):
        if left != right:
            shown = f": {right} is not {left}" if isinstance(left, (str, float)) else ""
            raise UserError(
                f"cannot be compared with {first_path}, the {what} differ{shown}",
                path=path,
                remedy="Evaluate every run on one dataset and partition (--dataset, --partition, --allow_other_data)",
            )


def tests(reports: Sequence[dict], names: Sequence[str]) -> list[dict]:
    """Tests every pair of runs in every common modality; with several classes, their mean and then each class.

    Masks of no single modality are tested in every modality of the other runs.

    Returns:
        For each comparison ``modality``, ``first``, ``second`` (names), the fields of `paired_tests.Paired`
        (``difference`` is the mean DSC of the first minus that of the second), and ``p_holm``, corrected for all
        comparisons. With several classes also ``target``: a class, or None for their mean.
    """
    comparisons = []
    rows = [row for body in reports for row in report.methods(body)]
    modalities = dict.fromkeys(row["modality"] for row in rows if row["modality"])
    # If all rows are masks of no single modality.
    modalities = modalities or {ALL_MODALITIES: None}
    targets = report.targets(reports[0])
    for modality, target in itertools.product(modalities, (None, *targets)):
        runs = {}
        for name, body in zip(names, reports):
            row = next((row for row in report.methods(body, target) if report.answers_for(row, modality)), None)
            if row is not None:
                runs[name] = {case["case_id"]: case["dice"] for case in row["cases"]}
        for first, second in itertools.combinations(runs, 2):
            common = [patient for patient in runs[first] if patient in runs[second]]
            if not common:
                continue
            pairs = ([runs[name][patient] for patient in common] for name in (first, second))
            result = dataclasses.asdict(paired_tests.wilcoxon(*pairs))
            place = {"modality": modality, "target": target} if targets else {"modality": modality}
            comparisons.append({**place, "first": first, "second": second, **result})
    for comparison, corrected in zip(comparisons, paired_tests.holm([comparison["p"] for comparison in comparisons])):
        comparison["p_holm"] = corrected
    return comparisons


def check_names(runs: Sequence[object], names: Sequence[str]) -> None:
    """Raises UserError unless each run has a unique name."""
    if not runs or len(runs) != len(names):
        raise UserError(
            f"expected as many names as runs, got {len(names)} names and {len(runs)} runs",
            remedy="Pass --names=NAME_A,NAME_B in the order of the runs",
        )
    if len(set(names)) != len(names):
        raise UserError(f"expected a unique name for each run, got {', '.join(names)}", remedy="Pass --names=A,B")


def build(paths: Sequence[str | pathlib.Path], names: Sequence[str], failure_dice: float = failures.DICE_BOUND) -> dict:
    """The contents of `comparison.json`: the runs with their rows and failures, the tests, the no-network baselines.

    Args:
        paths: of `metrics.json` files, of any version that `report.load` reads.
        names: the runs' names in the table, one each.
        failure_dice: a DSC below it is a failure.

    Raises:
        UserError: the runs were not scored on the same patients of the same data in the same way.
    """
    check_names(paths, names)
    reports = [report.load(path) for path in paths]
    for path, body in zip(paths[1:], reports[1:]):
        _check_same(reports[0], body, path, paths[0])

    def summarised(row: dict, body: dict) -> dict:
        scores = report.scores(row)
        title = row["name"] if row["kind"] != "masks" else row["modality"] or ALL_MODALITIES
        return {
            "name": row["name"],
            "modality": row["modality"],
            **({"target": row.get("target")} if report.targets(body) else {}),
            "title": table.row_title(title, row, body),
            "summary": summarise(scores),
            "failures": failures.listed(scores, failure_dice),
        }

    first = reports[0]
    return {
        "comparison_version": COMPARISON_VERSION,
        "partition": first["partition"],
        "data_hash": first["dataset"]["data_hash"],
        "patients": report.patients(first),
        "runs": [
            {
                "name": name,
                "metrics": str(path),
                **({"run_hash": body["run"]["run_hash"]} if "run" in body else {"masks": body["masks"]["files"]}),
                "rows": [summarised(row, body) for row in body["rows"] if row["kind"] != "blind"],
                "notes": [*table.paired_notes(body), *body["notes"]],
            }
            for name, path, body in zip(names, paths, reports)
        ],
        "blind": [summarised(row, first) for row in first["rows"] if row["kind"] == "blind"],
        "blind_notes": [
            *table.class_notes(first),
            *(f"{note}." for note in table.baseline_notes(first)),
            *table.lacking_notes(first),
        ],
        "failure_dice": failure_dice,
        "surface_tolerance_mm": first["surface_tolerance_mm"],
        "test": METHOD,
        "tests": tests(reports, names),
    }


def _p(value: float) -> str:
    return "<.001" if value < 0.001 else f"{value:.3f}"


def markdown(body: dict) -> str:
    """Tables in Markdown: a row per run and modality, then the no-network baselines; tests; failures by name."""
    several = any("target" in row for run in body["runs"] for row in run["rows"])

    def names(first: str, second: str, row: dict) -> list[str]:
        return [first, second, *([table.class_title(row)] if several else [])]

    rows = [(names(run["name"], row["title"], row), row["summary"]) for run in body["runs"] for row in run["rows"]]
    rows += [(names(row["title"], "", row), row["summary"]) for row in body["blind"]]
    notes = [
        f"Partition '{body['partition']}', {len(body['patients'])} patients, mean ± sd over patients.",
        *body["blind_notes"],
        *(f"{run['name']}: {note}" for run in body["runs"] for note in run["notes"]),
    ]
    first = ("run", "modality", "class") if several else ("run", "modality")
    tables = score_table.tables(rows, first, notes, body["surface_tolerance_mm"])
    if body["tests"]:
        lines = [
            [
                test["modality"],
                *([table.class_title(test)] if several else []),
                f"{test['first']} less {test['second']}",
                f"{test['difference']:+.3f}",
                f"{test['differing']}/{test['patients']}",
                _p(test["p"]),
                _p(test["p_holm"]),
            ]
            for test in body["tests"]
        ]
        headings = ["modality", *(["class"] if several else []), "runs", "difference in DSC"]
        headings += ["patients that differ", "p", "p corrected"]
        tables.append(Table(headings, lines, (f"{body['test']}.",)))
    failed = "".join(
        f"{escaped(run['name'])}, {table.failed_name(row['modality'] or ALL_MODALITIES, row)}: "
        f"{escaped(failures.sentence(row['failures'], body['failure_dice']))}  \n"
        for run in body["runs"]
        for row in run["rows"]
        if not several or row["target"]
    )
    return "\n".join([*(test.markdown() for test in tables), f"Failures:  \n{failed}"])
