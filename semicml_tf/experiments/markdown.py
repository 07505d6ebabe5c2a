"""Writes the experiment's tables in Markdown, with notes on reading and repeating them."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence

from semicml_tf.evaluation import score_table
from semicml_tf.evaluation.score_table import Column
from semicml_tf.evaluation.table import baseline_notes
from semicml_tf.experiments import summary
from semicml_tf.experiments.results import MEAN, Results
from semicml_tf.experiments.run_spec import Cell
from semicml_tf.experiments.statistics import Spread
from semicml_tf.experiments.summary import Line
from semicml_tf.system.tables import Table

_NONE = "–"
# The lines of one row and labelled count, by modality.
Group = dict[str, Line]


def number(value: float) -> str:
    """A score or a difference of scores without the leading zero: .712."""
    text = f"{value:.3f}"
    if float(text) == 0:
        return ".000"
    return text.replace("0.", ".", 1) if abs(float(text)) < 1 else text


def signed(value: float) -> str:
    """A difference with its sign: +.012."""
    text = number(value)
    return f"+{text}" if float(text) > 0 else text


def probability(value: float) -> str:
    """A p-value."""
    return "<.001" if value < 0.0005 else number(value)


def _mean_and_sd(spread: Spread) -> str:
    return number(spread.mean) if spread.sd_seeds is None else f"{number(spread.mean)} ± {number(spread.sd_seeds)}"


def _groups(lines: Iterable[Line]) -> list[Group]:
    groups: dict[tuple, Group] = {}
    for line in lines:
        groups.setdefault((line.kind, line.row, line.labelled), {})[line.modality] = line
    return list(groups.values())


def _any(group: Group) -> Line:
    return next(iter(group.values()))


def _count(line: Line) -> str:
    shown = line.labelled_patients is not None and line.labelled != str(line.labelled_patients)
    return f"{line.labelled} ({line.labelled_patients})" if shown else line.labelled or _NONE


def _seeds(group: Group) -> str:
    line = _any(group)
    return str(len(line.seeds)) if line.kind == "network" else _NONE


@dataclasses.dataclass(frozen=True)
class _Score:
    """A metric of the table.

    Attributes:
        title: heading of its columns.
        metric: its name in `Line.metrics`.
        text: returns the text of a cell.
        decimals: number of decimals to which means are rounded before the best mean is chosen.
        best: chooses the best of several means; None if the best mean is not marked.
    """

    title: str
    metric: str
    text: Callable[[Spread], str]
    decimals: int
    best: Callable[[set[float]], float] | None


_SCORES = (
    _Score("DSC", "dice", _mean_and_sd, 3, max),
    _Score("HD95 mm", "hd95_mm", lambda spread: f"{spread.mean:.1f}", 1, min),
    _Score("ASSD mm", "assd_mm", lambda spread: f"{spread.mean:.1f}", 1, min),
    # In most rows no patient is missed.
    _Score("missed", "missed", lambda spread: f"{100 * spread.mean:.1f} %", 3, None),
)


def _of_line(title: str, text: Callable[[Line], str], name: str) -> Column:
    """A column with the texts of a modality's lines."""
    return Column(title, lambda group: text(group[name]) if name in group else _NONE, name)


def _of_score(score: _Score, groups: Sequence[Group], name: str) -> Column:
    """A modality's column of a metric. Among networks with equally many labelled patients, the best mean is bold."""

    def rounded(line: Line) -> float:
        return round(line.metrics[score.metric].mean, score.decimals)

    def text(line: Line) -> str:
        shown = score.text(line.metrics[score.metric])
        if score.best is None or line.kind != "network":
            return shown
        rivals = [group[name] for group in groups if name in group]
        values = {rounded(rival) for rival in rivals if (rival.kind, rival.labelled) == (line.kind, line.labelled)}
        # If all means are equal, none is bold.
        return f"**{shown}**" if len(values) > 1 and rounded(line) == score.best(values) else shown

    return _of_line(score.title, text, name)


def _table(groups: Sequence[Group], columns: Sequence[Column], seeds: Callable[[Group], str] | None = None) -> str:
    first = {"method": lambda group: _any(group).row, "labelled": lambda group: _count(_any(group))}
    if seeds:
        first["seeds"] = seeds
    rows = [([text(group) for text in first.values()], group) for group in groups]
    return score_table.table(columns, rows, tuple(first)).markdown()


def _score_table(groups: Sequence[Group], names: Sequence[str]) -> str:
    columns = []
    for name in names:
        dice, *others = (_of_score(score, groups, name) for score in _SCORES)
        columns.append(dice)
        if any(line.sd_folds is not None for group in groups for line in group.values()):
            columns.append(_of_line("sd over folds", _sd_folds, name))
        columns += [] if name == MEAN else others
    return _table(groups, columns, _seeds)


def _sd_folds(line: Line) -> str:
    return _NONE if line.sd_folds is None else number(line.sd_folds)


def _interval(line: Line) -> str:
    interval = line.against.interval
    return _NONE if interval is None else " to ".join(signed(end) for end in interval)


def _against_table(groups: Sequence[Group], names: Sequence[str]) -> str | None:
    compared = [group for group in groups if any(line.against for line in group.values())]
    parts = {
        "difference": lambda line: signed(line.against.difference),
        "95 %": _interval,
        "p": lambda line: probability(line.against.p_holm),
        "patients": lambda line: f"{line.against.reference_patients}/{line.against.differing}",
        "seeds": lambda line: f"{line.against.reference_wins}/{line.against.seeds}",
    }
    columns = [_of_line(title, text, name) for name in names for title, text in parts.items()]
    return _table(compared, columns, lambda group: str(_any(group).against.seeds)) if compared else None


def _against_text(groups: Sequence[Group], names: Sequence[str], reference: str) -> str:
    against = _against_table(groups, names)
    if against:
        return f"Against '{reference}', in DSC; patients and seeds: in how many '{reference}' is better:\n\n{against}"
    if all(line.row == reference for group in groups for line in group.values() if line.kind == "network"):
        return ""  # a table of one row
    return f"'{reference}' has no run with the same number of labels and the same seed to compare with.\n"


def saved_text(line: Line) -> str:
    """Numbers of labels needed by the baseline and of saved labels, or their bounds."""
    if line.saved is None:
        return _NONE
    bound = {"": "", "<": "< ", ">": "> "}[line.saved.bound]
    return f"{bound}{line.saved.needed:.1f} ({bound}{line.saved.saved:+.1f})"


def _gap_closed(line: Line) -> str:
    return _NONE if line.gap is None or line.gap.closed is None else f"{100 * line.gap.closed:.0f} %"


def _baseline_table(groups: Sequence[Group], names: Sequence[str], baseline: str) -> str | None:
    compared = [group for group in groups if _any(group).row != baseline]
    lines = [line for group in compared for line in group.values()]
    parts = {}
    if any(line.gap for line in lines):
        parts["gap closed"] = _gap_closed
    if any(line.saved for line in lines):
        parts["labels needed (saved)"] = saved_text
    columns = [_of_line(title, text, name) for title, text in parts.items() for name in names]
    shown = [group for group in compared if any(line.gap or line.saved for line in group.values())]
    return _table(shown, columns) if shown else None


def _listed(values: Iterable) -> str:
    return ", ".join(str(value) for value in values)


def _seed_notes(results: Results, modalities: tuple[str, ...]) -> list[str]:
    whole = sorted({result.cell.seed for result in results.of_set(modalities)})
    what = "the folds, the labelled patients" if results.has_folds else "the labelled patients"
    notes = [f"Seeds: {_listed(whole)}; a seed draws {what}, the weights and the batches."]
    if results.has_folds:
        number_of_folds = len(results.of_set(modalities)[0].folds)
        notes.append(
            f"Cross-validation: {number_of_folds} folds per seed. Each patient is scored once per seed, by a run that "
            "has not seen the patient. What is chosen, such as checkpoint and thresholds, is chosen in the fold."
        )
    waiting: dict[tuple[str, str], list[int]] = {}
    for cell in results.missing:
        if cell.modalities == modalities:
            waiting.setdefault((cell.row, cell.labelled), []).append(cell.seed)
    if waiting:
        texts = [f"{row} with {labelled} (seeds {_listed(seeds)})" for (row, labelled), seeds in waiting.items()]
        notes.append(f"Not finished and left out: {'; '.join(texts)}.")
    return notes


def _set_notes(results: Results, modalities: tuple[str, ...], lines: Sequence[Line], baseline: str | None) -> list[str]:
    first = results.of_set(modalities)[0]
    counts = {line.modality: line.metrics["dice"].patients for line in lines if line.kind == "network"}
    shown = _listed(dict.fromkeys(counts.values()))
    if len(set(counts.values())) > 1:
        shown = _listed(f"{name} {count}" for name, count in counts.items())
    who = f"Patients of partition '{first.cell.partition}'"
    notes = [f"{who}: {shown}, the same in every row, each scored on the patient's own grid."]
    notes += _seed_notes(results, modalities)
    cell = first.cell
    drawn = f"with {cell.labelled} labelled patients and seed {cell.seed}"
    notes += [f"{note}, drawn {drawn}." for note in baseline_notes(first.report)]
    counted = [line for line in lines if line.labelled == "all" and line.labelled_patients is None]
    if counted and baseline:
        notes.append("The data of 'all' are missing, so its number of patients is unknown: left out of the cost curve.")
    return notes


def _reading_notes(reference: str, baseline: str | None, *, compared: bool, saved: bool, has_folds: bool) -> list[str]:
    notes = [
        "DSC: mean over seeds of the mean over patients; ±: sample standard deviation over seeds of that mean "
        "(table.csv also has the standard deviation over patients). HD95, ASSD: the same means. missed: share of the "
        "patients who have a lesion and an empty prediction; they score DSC 0 and the volume's diagonal in mm.",
        f"{MEAN}: each patient's mean over the modalities. Bold: best of the column with the same number of labels.",
        "Blind rows use no network: one mask is compared with all networks.",
    ]
    if has_folds:
        notes.append(
            "sd over folds: sample standard deviation over folds of the mean DSC over the fold's patients, mean over "
            "seeds. The no-network baselines are those of the first seed, fitted in each fold."
        )
    if compared:
        notes.append(
            f"Difference: mean DSC of the row minus that of '{reference}' with the same number of labelled patients, "
            f"over the common seeds; negative if '{reference}' is better. p: Wilcoxon signed-rank test, two-sided, "
            "paired over patients (each patient's mean over these seeds; patients without a difference are left out), "
            "corrected by Holm's method for all comparisons of the set and modality. 95 %: bootstrap interval of the "
            f"mean difference over patients. patients: number with a higher DSC by '{reference}', of all patients with "
            f"a difference. seeds: number in which '{reference}' has the higher mean. Test and interval cover other "
            "patients, not other draws of labelled patients; seeds and ± show the draws."
        )
    if baseline:
        notes.append(
            f"Gap closed: (row - '{baseline}' with the same number of labels) / ('{baseline}' with all labels - "
            f"'{baseline}' with the same number), over the common seeds; – if all labels are not better."
        )
    if saved:
        notes.append(
            f"Labels needed: labelled patients that '{baseline}' needs for the row's DSC, in brackets the same minus "
            "the row's number. They come from the running maximum of the baseline's mean curve, linear between points "
            "over the logarithm of the number, over the common seeds of the row and all points. >: not reached with "
            "the most labels. <: already better with the fewest labels."
        )
    return notes


def _made_by(cell: Cell) -> str:
    """The flags of a row; for another tool's masks, a description."""
    if not cell.external:
        return f"`{shlex.join(cell.flags)}`"
    if cell.external[0][0]:
        return "masks of another tool, separate for each modality"
    return "masks of another tool, the same in each column: the method may need all modalities"


def table_md(
    results: Results,
    lines: Sequence[Line],
    *,
    reference: str,
    baseline: str | None,
    command: str,
    hashes: Mapping[str, str],
) -> str:
    """The page: scores, differences and saved labels of each set of modalities, then notes and the command."""
    text = []
    for modalities in results.modality_sets:
        of_set = [line for line in lines if line.modalities == modalities]
        over_classes = [line for line in of_set if line.target is None]
        groups, names = _groups(over_classes), summary.columns(results, modalities)
        text.append(f"## {' + '.join(modalities)}\n\n{_score_table(groups, names)}")
        text.append(_against_text(groups, names, reference))
        worth = _baseline_table(groups, names, baseline) if baseline else None
        if worth:
            text.append(f"Against '{baseline}', in DSC:\n\n{worth}")
        text.append("".join(f"{note}  \n" for note in _set_notes(results, modalities, over_classes, baseline)))
        for target in results.targets:
            groups = _groups(line for line in of_set if line.target == target)
            text.append(f"### {target}, of {' + '.join(modalities)}\n\n{_score_table(groups, names)}")
            text.append(_against_text(groups, names, reference))
    saved = any(line.saved for line in lines)
    compared = any(line.against for line in lines)
    notes = _reading_notes(reference, baseline, compared=compared, saved=saved, has_folds=results.has_folds)
    if results.targets:
        notes.append(
            f"Classes: {_listed(results.targets)}. Tables without a class show each patient's mean over the classes; "
            "a patient is then missed if any class is missed. Each class has a table of its own. p is corrected for "
            "the comparisons of that table."
        )
    text.append("## How to read it\n\n" + "".join(f"- {note}\n" for note in notes))
    rows = dict.fromkeys((result.cell.row, _made_by(result.cell)) for result in results.done)
    flags = Table(["method", "flags of semicml_tf.train"], [list(row) for row in rows])
    kept = "".join(f"- {name}: `{value}`\n" for name, value in hashes.items())
    text.append(
        f"## How to make it again\n\n```sh\n{command}\n```\n\n"
        "The command skips finished runs. The rows differ only in these flags. experiment.json has the hashes of each "
        "run and its data:\n\n"
        f"{flags.markdown()}\nHashes:\n\n{kept}"
    )
    return "\n".join(text)
