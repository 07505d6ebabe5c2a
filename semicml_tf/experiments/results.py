"""The scores of an experiment's finished cells, checked to be comparable."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from semicml_tf.errors import UserError
from semicml_tf.evaluation import report as reports
from semicml_tf.evaluation.metrics.case_score import CaseScore
from semicml_tf.experiments import external_row
from semicml_tf.experiments.run_spec import ALL, Cell
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.runs import run_folder

# Name of a patient's mean over the modalities.
MEAN = "mean"
OUTCOMES = ("missed", "false alarm")
_REMEDY = "Remove this run's folder and run the experiment again"


def value_of(score: CaseScore, metric: str) -> float:
    """An attribute of the score; for an outcome, 1 if the score has this outcome, else 0."""
    return float(score.outcome == metric) if metric in OUTCOMES else getattr(score, metric)


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """A finished cell.

    Attributes:
        cell: the cell.
        report: its `metrics.json`.
        runs: its `run.json`; for a pooled cell, those of all folds; () for another tool's masks.
        scores: by modality, then by test patient; over all classes, or of one class (`of_class`).
        baselines: by name of the no-network baseline, then by test patient.
    """

    cell: Cell
    report: dict
    runs: tuple[dict, ...]
    scores: dict[str, dict[str, CaseScore]]
    baselines: dict[str, dict[str, CaseScore]]

    @classmethod
    def of(cls, cell: Cell, report: dict, runs: Sequence[dict], target: str | None = None) -> Result:
        """The result with the scores of a class; for None, with the scores over all classes."""
        scores = {row["modality"]: _cases(row) for row in reports.networks(report, target)}
        baselines = {row["name"]: _cases(row) for row in reports.baselines(report, target)}
        return cls(cell, report, tuple(runs), scores, baselines)

    def of_class(self, target: str) -> Result:
        """The same cell with the scores of a class."""
        return self.of(self.cell, self.report, self.runs, target)

    @property
    def folds(self) -> tuple[tuple[str, ...], ...]:
        """The patients of each fold; () without folds."""
        return tuple(tuple(fold["cases"]) for fold in self.report.get("folds", ()))

    def values(self, modality: str, metric: str) -> dict[str, float]:
        """A metric by patient. `MEAN` gives means over modalities, for the patients who were scored in all of them.

        Args:
            modality: of the cell, or `MEAN`.
            metric: an attribute of `CaseScore` that is always defined, or an outcome (see `value_of`).
        """
        if modality != MEAN:
            return {name: value_of(score, metric) for name, score in self.scores[modality].items()}
        by_modality = [self.values(name, metric) for name in self.cell.modalities]
        return {
            name: sum(values[name] for values in by_modality) / len(by_modality)
            for name in by_modality[0]
            if all(name in values for values in by_modality)
        }


@dataclasses.dataclass(frozen=True, eq=False)
class Results:
    """All finished cells, in the grid's order.

    Attributes:
        done: one per finished cell.
        missing: cells without scores yet.
        all_labelled: number of patients that "all" stands for, by set of modalities whose dataset can be read.
    """

    done: tuple[Result, ...]
    missing: tuple[Cell, ...]
    all_labelled: dict[tuple[str, ...], int]

    @property
    def targets(self) -> tuple[str, ...]:
        """The classes; () if there is one class."""
        return reports.targets(self.done[0].report)

    def of_class(self, target: str) -> Results:
        """The same cells with the scores of a class."""
        return dataclasses.replace(self, done=tuple(result.of_class(target) for result in self.done))

    @property
    def has_folds(self) -> bool:
        """Whether the scores are those of a cross-validation."""
        return bool(self.done[0].folds)

    @property
    def modality_sets(self) -> list[tuple[str, ...]]:
        """The sets of modalities with a finished cell."""
        return list(dict.fromkeys(result.cell.modalities for result in self.done))

    def of_set(self, modalities: tuple[str, ...]) -> list[Result]:
        """The finished cells of a set of modalities."""
        return [result for result in self.done if result.cell.modalities == modalities]

    def settings(self, modalities: tuple[str, ...]) -> list[tuple[str, str]]:
        """(row, labelled) of a set's finished cells: few labels first, "all" last, rows in the grid's order."""
        settings = dict.fromkeys((result.cell.row, result.cell.labelled) for result in self.of_set(modalities))
        return sorted(settings, key=lambda setting: self.order(setting[1]))

    @staticmethod
    def order(labelled: str) -> float:
        """The sort key of a labelled count."""
        return float("inf") if labelled == ALL else int(labelled)

    def seeds(self, modalities: tuple[str, ...], row: str, labelled: str) -> dict[int, Result]:
        """The finished cells of a setting by seed; empty if there is none."""
        wanted = (row, labelled)
        return {
            result.cell.seed: result
            for result in self.of_set(modalities)
            if (result.cell.row, result.cell.labelled) == wanted
        }

    def count(self, modalities: tuple[str, ...], labelled: str) -> int | None:
        """`labelled` as a number of patients; None for "all" if no dataset can be read."""
        return self.all_labelled.get(modalities) if labelled == ALL else int(labelled)


def _read_one(cell: Cell, first: Result | None) -> Result:
    """Reads a cell; `first` is the first finished one of the same modalities."""
    if cell.external:
        lacking = first.report.get("lacking", {}) if first else {}
        return Result.of(cell, external_row.read(cell, lacking), ())
    body = reports.load(cell.metrics_path)
    runs = [run_folder.read_record(member.folder, _REMEDY) for member in cell.members or (cell,)]
    result = Result.of(cell, body, runs)
    scores = result.scores
    if set(scores) != set(cell.modalities):
        raise UserError(
            f"expected scores of {' and '.join(cell.modalities)}, got {', '.join(scores) or 'none'}",
            path=cell.metrics_path,
            remedy=_REMEDY,
        )
    if not all(scores.values()):
        empty = next(name for name, cases in scores.items() if not cases)
        raise UserError(f"no test patient has {empty}", path=cell.metrics_path, remedy="Choose other test patients")
    return result


def _cases(row: dict) -> dict[str, CaseScore]:
    return {score.case_id: score for score in reports.scores(row)}


def _check_same(first: Result, other: Result) -> None:
    # Data hashes differ, because each draw of labelled patients is another dataset. Only the scoring is compared.
    def scored(result):
        return {name: sorted(cases) for name, cases in result.scores.items()}

    def truth(result):
        # By volume: patients of the same names could have other masks.
        return {
            name: {patient: round(score.truth_ml, 6) for patient, score in cases.items()}
            for name, cases in result.scores.items()
        }

    for what, left, right in (
        ("test patients", scored(first), scored(other)),
        ("annotators' masks", truth(first), truth(other)),
        ("policy", *reports.shared_policy(first.report, other.report)),
        ("partition", first.report["partition"], other.report["partition"]),
    ):
        if left != right:
            raise UserError(
                f"cannot be compared with {first.cell.metrics_path}: other {what}{_which(left, right)}",
                path=other.cell.metrics_path,
                remedy="All runs of a set of modalities must be scored on the same test patients in the same way: "
                "convert with one split of the test patients, and repeat the runs that differ",
            )


def _which(left, right) -> str:
    if isinstance(left, str):
        return f" ({right}, not {left})"
    key = next(name for name in left if left[name] != right.get(name)) if set(left) == set(right) else None
    if key is None or not isinstance(left[key], list):
        return f" ({key})" if key else ""
    odd = sorted(set(left[key]) ^ set(right[key]))
    return f" ({key}: {', '.join(odd[:3])}{', ...' if len(odd) > 3 else ''} in one only)"


def _all_labelled(done: Sequence[Result]) -> dict[tuple[str, ...], int]:
    counts: dict[tuple[str, ...], int] = {}
    for result in done:
        if result.cell.labelled != ALL or not result.runs:
            continue
        try:
            # Folds can differ by one patient. The smallest number is used.
            count = min(result.cell.labelled_count(DatasetInfo.load(run["dataset"])) for run in result.runs)
        except UserError:
            continue  # without the data, scores are still valid, but "all" is not in the cost curve
        known = counts.setdefault(result.cell.modalities, count)
        if known != count:
            raise UserError(
                f"'all' are {count} labelled patients here and {known} with another seed",
                path=result.cell.folder,
                remedy="Convert every draw of these modalities with the same number of validation and test patients",
            )
    return counts


def read(cells: Iterable[Cell]) -> Results:
    """Reads the scores of the finished cells.

    Raises:
        UserError: a file is damaged; a cell is repeated; runs of a set were not scored on the same test patients in the
            same way; no run is finished.
    """
    cells = list(cells)
    places: dict[tuple, Cell] = {}
    for cell in cells:
        place = (cell.modalities, cell.row, cell.labelled, cell.seed)
        if place in places:
            raise UserError(
                f"row '{cell.row}' with {cell.labelled} labelled patients and seed {cell.seed} is repeated",
                path=cell.folder,
                remedy="Name each row, labelled count and seed once",
            )
        places[place] = cell
    done: list[Result] = []
    firsts: dict[tuple[str, ...], Result] = {}
    for cell in (cell for cell in cells if cell.finished):
        result = _read_one(cell, firsts.get(cell.modalities))
        done.append(result)
        if reports.targets(result.report) != reports.targets(done[0].report):
            raise UserError(
                f"cannot be compared with {done[0].cell.metrics_path}: other classes",
                path=result.cell.metrics_path,
                remedy="Convert the data of all runs with the same --labels",
            )
        _check_same(firsts.setdefault(result.cell.modalities, result), result)
    if not done:
        raise UserError("no run of this experiment is finished", remedy="Let it run longer")
    return Results(tuple(done), tuple(cell for cell in cells if not cell.finished), _all_labelled(done))
