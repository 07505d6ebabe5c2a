"""The lines of an experiment's table: means, differences from the reference, gap closed, labels saved."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

from semicml_tf.evaluation import paired_tests
from semicml_tf.evaluation.scores import mean_and_sd
from semicml_tf.experiments import statistics
from semicml_tf.experiments.results import MEAN, Result, Results, value_of
from semicml_tf.experiments.run_spec import ALL
from semicml_tf.experiments.statistics import Spread

METRICS = ("dice", "hd95_mm", "assd_mm", "missed", "false alarm")


@dataclasses.dataclass(frozen=True)
class Against:
    """A row compared with the reference row for the same number of labelled patients, over their common seeds.

    Attributes:
        difference: mean DSC of the row minus that of the reference; negative if the reference is better.
        interval: of the difference, 95 % over patients; None for few patients.
        p: of the paired Wilcoxon test over patients, two-sided.
        p_holm: corrected for all comparisons of the set and modality.
        patients: number of patients in the test.
        differing: number of patients whose scores differ.
        seeds: number of common seeds.
        reference_wins: seeds whose mean DSC over patients is higher with the reference.
        reference_patients: patients whose mean DSC over seeds is higher with the reference.
    """

    difference: float
    interval: tuple[float, float] | None
    p: float
    p_holm: float
    patients: int
    differing: int
    seeds: int
    reference_wins: int
    reference_patients: int


@dataclasses.dataclass(frozen=True)
class Gap:
    """The share of the gap that a row closes: from the baseline with the same number of labels to that with all."""

    closed: float | None
    seeds: int


@dataclasses.dataclass(frozen=True)
class Saved:
    """Labelled patients that the baseline needs for the row's score, over the common seeds of row and curve.

    Attributes:
        needed, saved: numbers of patients; bounds of them if `bound` is "<" or ">" (`statistics.Needed`).
        seeds: number of common seeds.
    """

    needed: float
    saved: float
    bound: str
    seeds: int


@dataclasses.dataclass(frozen=True)
class Line:
    """One row of the table in one modality.

    Attributes:
        modalities: of the runs.
        row: name of the row.
        kind: ``network``, or ``blind`` for a no-network baseline.
        labelled: as in `Cell`; "" for no-network baselines.
        labelled_patients: `labelled` as a number; None if unknown.
        modality: one of `modalities`, or `MEAN`.
        seeds: of the finished runs.
        by_seed: mean DSC over patients, for each of `seeds`.
        metrics: by name of `METRICS`; shares of patients for outcomes.
        against: comparison with the reference.
        gap, saved: gap closed and labels saved; see `Gap` and `Saved`.
        target: a class; None for all classes together and for a single class.
        sd_folds: standard deviation of the DSC over folds (`statistics.sd_over_folds`); None without folds.
    """

    modalities: tuple[str, ...]
    row: str
    kind: str
    labelled: str
    labelled_patients: int | None
    modality: str
    seeds: tuple[int, ...]
    by_seed: tuple[float, ...]
    metrics: dict[str, Spread]
    against: Against | None = None
    gap: Gap | None = None
    saved: Saved | None = None
    target: str | None = None
    sd_folds: float | None = None


def columns(results: Results, modalities: tuple[str, ...]) -> tuple[str, ...]:
    """The modalities of a table: those of the set, and `MEAN` if any patient was scored in all of several."""
    return (
        (*modalities, MEAN)
        if len(modalities) > 1 and results.of_set(modalities)[0].values(MEAN, "dice")
        else modalities
    )


def _dice(runs: dict[int, Result], modality: str, seeds: Sequence[int]) -> dict[int, dict[str, float]]:
    return {seed: runs[seed].values(modality, "dice") for seed in seeds}


def _mean(runs: dict[int, Result], modality: str, seeds: Sequence[int]) -> float:
    return mean_and_sd(list(statistics.means_of_seeds(_dice(runs, modality, seeds)).values()))["mean"]


def _common(*runs: dict[int, Result]) -> list[int]:
    return sorted(functools.reduce(set.intersection, (set(results) for results in runs)))


def _against(runs: dict[int, Result], reference: dict[int, Result], modality: str) -> Against | None:
    seeds = _common(runs, reference)
    if not seeds:
        return None
    row_dice, reference_dice = _dice(runs, modality, seeds), _dice(reference, modality, seeds)
    row_patients = statistics.means_of_patients(row_dice)
    reference_patients = statistics.means_of_patients(reference_dice)
    test = paired_tests.wilcoxon(list(row_patients.values()), [reference_patients[name] for name in row_patients])
    row_seeds, reference_seeds = statistics.means_of_seeds(row_dice), statistics.means_of_seeds(reference_dice)
    wins = sum(reference_seeds[seed] > row_seeds[seed] for seed in seeds)
    return Against(
        difference=test.difference,
        interval=test.interval,
        p=test.p,
        p_holm=test.p,
        patients=test.patients,
        differing=test.differing,
        seeds=len(seeds),
        reference_wins=wins,
        reference_patients=test.differing - test.higher,
    )


def _gap(runs: dict[int, Result], baseline: dict[int, Result], ceiling: dict[int, Result], modality) -> Gap | None:
    seeds = _common(runs, baseline, ceiling)
    if not seeds:
        return None
    means = (_mean(runs_of_row, modality, seeds) for runs_of_row in (runs, baseline, ceiling))
    return Gap(statistics.gap_closed(*means), len(seeds))


def _saved(
    runs: dict[int, Result], labelled: int | None, curve: dict[int, dict[int, Result]], modality
) -> Saved | None:
    if labelled is None or len(curve) < 2:
        return None
    seeds = _common(runs, *curve.values())
    if not seeds:
        return None
    needed = statistics.needed(
        {count: _mean(point, modality, seeds) for count, point in curve.items()}, _mean(runs, modality, seeds)
    )
    return Saved(needed.labels, needed.saved(labelled), needed.bound, len(seeds))


def curve(results: Results, modalities: tuple[str, ...], row: str) -> dict[int, dict[int, Result]]:
    """A row's finished cells by number of labelled patients, then by seed. Cells of unknown number are left out."""
    cells_by_count = {}
    for name, labelled in results.settings(modalities):
        count = results.count(modalities, labelled)
        if name == row and count is not None:
            cells_by_count[count] = results.seeds(modalities, row, labelled)
    return cells_by_count


def _network_lines(results: Results, modalities: tuple[str, ...], modality: str, reference: str, baseline: str | None):
    baseline_curve = curve(results, modalities, baseline) if baseline else {}
    lines = []
    for row, labelled in results.settings(modalities):
        runs = results.seeds(modalities, row, labelled)
        seeds = sorted(runs)
        count = results.count(modalities, labelled)
        dice = _dice(runs, modality, seeds)
        by_seed = statistics.means_of_seeds(dice)
        lines.append(
            Line(
                modalities=modalities,
                row=row,
                kind="network",
                labelled=labelled,
                labelled_patients=count,
                modality=modality,
                seeds=tuple(seeds),
                by_seed=tuple(by_seed[seed] for seed in seeds),
                metrics={
                    metric: statistics.spread({seed: runs[seed].values(modality, metric) for seed in seeds})
                    for metric in METRICS
                },
                against=None
                if row == reference
                else _against(runs, results.seeds(modalities, reference, labelled), modality),
                gap=None
                if baseline is None or labelled == ALL
                else _gap(
                    runs,
                    results.seeds(modalities, baseline, labelled),
                    results.seeds(modalities, baseline, ALL),
                    modality,
                ),
                saved=None if row == baseline else _saved(runs, count, baseline_curve, modality),
                sd_folds=statistics.sd_over_folds(dice, {seed: runs[seed].folds for seed in seeds}),
            )
        )
    return lines


def _holm(lines: list[Line]) -> list[Line]:
    corrected = iter(paired_tests.holm([line.against.p for line in lines if line.against]))
    return [
        dataclasses.replace(line, against=dataclasses.replace(line.against, p_holm=next(corrected)))
        if line.against
        else line
        for line in lines
    ]


def _baseline_lines(first: Result, modality: str) -> list[Line]:
    # On the patients of the networks, so that both can be compared.
    wanted = set(first.values(modality, "dice"))
    lines = []
    for name, scores in first.baselines.items():
        wanted_scores = {patient: score for patient, score in scores.items() if patient in wanted}
        if not wanted_scores:
            continue
        metrics = {
            metric: statistics.spread(
                {first.cell.seed: {patient: value_of(score, metric) for patient, score in wanted_scores.items()}}
            )
            for metric in METRICS
        }
        seed = first.cell.seed
        dice = {seed: {patient: score.dice for patient, score in wanted_scores.items()}}
        lines.append(
            Line(
                modalities=first.cell.modalities,
                row=name,
                kind="blind",
                labelled="",
                labelled_patients=None,
                modality=modality,
                seeds=(seed,),
                by_seed=(metrics["dice"].mean,),
                metrics=metrics,
                sd_folds=statistics.sd_over_folds(dice, {seed: first.folds}),
            )
        )
    return lines


def lines(results: Results, reference: str, baseline: str | None) -> list[Line]:
    """All lines by set of modalities: rows with few labels first, in each modality and `MEAN`; baselines last.

    With several classes, the lines of each class follow those over all classes.

    Args:
        reference: the row that the others are compared with.
        baseline: the row that learns from labelled patients only; its cells with "all" are the ceiling. With None,
            lines have no gap and no saved labels.
    """
    all_lines = _lines(results, reference, baseline)
    for target in results.targets:
        of_class = _lines(results.of_class(target), reference, baseline)
        all_lines += [dataclasses.replace(line, target=target) for line in of_class]
    return all_lines


def _lines(results: Results, reference: str, baseline: str | None) -> list[Line]:
    all_lines = []
    for modalities in results.modality_sets:
        names = columns(results, modalities)
        by_modality = [_holm(_network_lines(results, modalities, name, reference, baseline)) for name in names]
        all_lines += [line for same in zip(*by_modality) for line in same]
        first = results.of_set(modalities)[0]
        baselines = [line for name in names for line in _baseline_lines(first, name)]
        all_lines += sorted(baselines, key=lambda line: list(first.baselines).index(line.row))
    return all_lines
