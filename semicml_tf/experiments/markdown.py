"""The experiment's table as people read it in a README."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence

from semicml_tf.evaluation.table import blind_notes, markdown
from semicml_tf.experiments import summary
from semicml_tf.experiments.results import BOTH, Results
from semicml_tf.experiments.statistics import Spread
from semicml_tf.experiments.summary import Line

_NONE = "–"
# Lines of a table: the modality's lines of one row and labelled count, by modality.
Group = dict[str, Line]


def number(value: float) -> str:
    """A score of 0 to 1 or a difference of two, without the leading zero: .712."""
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


def _pm(spread: Spread) -> str:
    return number(spread.mean) if spread.sd_seeds is None else f"{number(spread.mean)} ± {number(spread.sd_seeds)}"


def _groups(lines: Iterable[Line]) -> list[Group]:
    found: dict[tuple, Group] = {}
    for line in lines:
        found.setdefault((line.kind, line.row, line.labelled), {})[line.modality] = line
    return list(found.values())


def _any(group: Group) -> Line:
    return next(iter(group.values()))


def _count(line: Line) -> str:
    shown = line.labelled_patients is not None and line.labelled != str(line.labelled_patients)
    return f"{line.labelled} ({line.labelled_patients})" if shown else line.labelled or _NONE


def _seeds(group: Group) -> str:
    line = _any(group)
    return str(len(line.seeds)) if line.kind == "network" else _NONE


# Of a column: heading, text of a cell, number to be best in, whether the largest is best (None: no best is shown).
Column = tuple[str, Callable[[Line], str], Callable[[Line], float], bool | None]
_SCORES: tuple[Column, ...] = (
    ("DSC", lambda line: _pm(line.metrics["dice"]), lambda line: round(line.metrics["dice"].mean, 3), True),
    (
        "HD95 mm",
        lambda line: f"{line.metrics['hd95_mm'].mean:.1f}",
        lambda line: round(line.metrics["hd95_mm"].mean, 1),
        False,
    ),
    (
        "ASSD mm",
        lambda line: f"{line.metrics['assd_mm'].mean:.1f}",
        lambda line: round(line.metrics["assd_mm"].mean, 1),
        False,
    ),
    (
        "missed",
        lambda line: f"{100 * line.metrics['missed'].mean:.1f} %",
        lambda line: round(line.metrics["missed"].mean, 3),
        None,  # most rows miss nobody
    ),
)


def _columns(modality: str) -> tuple[Column, ...]:
    return _SCORES[:1] if modality == BOTH else _SCORES


def _score_cell(line: Line | None, column: Column, rivals: Sequence[Line]) -> str:
    if line is None:
        return _NONE
    _, text, value, largest = column
    if largest is None or line.kind != "network":
        return text(line)
    values = [value(rival) for rival in rivals]
    # "Best" says nothing of one alone, nor where all are equal.
    best = len(values) > 1 and min(values) != max(values) and value(line) == (max(values) if largest else min(values))
    return f"**{text(line)}**" if best else text(line)


def _score_table(groups: Sequence[Group], names: Sequence[str]) -> str:
    header = ["method", "labelled", "seeds", *(f"{name} {column[0]}" for name in names for column in _columns(name))]
    rows = []
    for group in groups:
        first = _any(group)
        row = [first.row, _count(first), _seeds(group)]
        for name in names:
            rivals = [
                other[name]
                for other in groups
                if _any(other).kind == "network" and _any(other).labelled == first.labelled and name in other
            ]
            row += [_score_cell(group.get(name), column, rivals) for column in _columns(name)]
        rows.append(row)
    return markdown(header, rows)


def _against_table(groups: Sequence[Group], names: Sequence[str]) -> str | None:
    compared = [group for group in groups if any(line.against for line in group.values())]
    if not compared:
        return None
    header = [
        "method",
        "labelled",
        "seeds",
        *(f"{name} {what}" for name in names for what in ("difference", "p", "wins")),
    ]
    rows = []
    for group in compared:
        first = _any(group)
        row = [first.row, _count(first), str(first.against.seeds)]
        for name in names:
            against = group[name].against
            won = f"{against.reference_wins}/{against.seeds}"
            row += [signed(against.difference), probability(against.p_holm), won]
        rows.append(row)
    return markdown(header, rows)


def saved_text(line: Line) -> str:
    """Labels needed by the baseline and those saved, or bounds of them."""
    if line.saved is None:
        return _NONE
    bound = {"": "", "<": "< ", ">": "> "}[line.saved.bound]
    return f"{bound}{line.saved.needed:.1f} ({bound}{line.saved.saved:+.1f})"


def _baseline_table(groups: Sequence[Group], names: Sequence[str], baseline: str) -> str | None:
    own = [group for group in groups if _any(group).row != baseline]
    gaps = any(line.gap for group in own for line in group.values())
    saved = any(line.saved for group in own for line in group.values())
    parts = [what for what, given in (("gap closed", gaps), ("labels needed (saved)", saved)) if given]
    rows = []
    for group in own:
        if not any(line.gap or line.saved for line in group.values()):
            continue
        first = _any(group)
        row = [first.row, _count(first)]
        for what in parts:
            for line in (group[name] for name in names):
                if what == "gap closed":
                    closed = None if line.gap is None else line.gap.closed
                    row.append(_NONE if closed is None else f"{100 * closed:.0f} %")
                else:
                    row.append(saved_text(line))
        rows.append(row)
    header = ["method", "labelled", *(f"{name} {what}" for what in parts for name in names)]
    return markdown(header, rows) if rows else None


def _listed(values: Iterable) -> str:
    return ", ".join(str(value) for value in values)


def _seed_notes(results: Results, pair: tuple[str, str]) -> list[str]:
    whole = sorted({result.cell.seed for result in results.of_pair(pair)})
    notes = [f"Seeds: {_listed(whole)}; a seed draws the labelled patients, the weights and the batches."]
    waiting: dict[tuple[str, str], list[int]] = {}
    for cell in results.missing:
        if cell.pair == pair:
            waiting.setdefault((cell.row, cell.labelled), []).append(cell.seed)
    if waiting:
        texts = [f"{row} with {labelled} (seeds {_listed(seeds)})" for (row, labelled), seeds in waiting.items()]
        notes.append(f"Not finished and left out: {'; '.join(texts)}.")
    return notes


def _pair_notes(results: Results, pair: tuple[str, str], lines: Sequence[Line], baseline: str | None) -> list[str]:
    first = results.of_pair(pair)[0]
    counts = {line.modality: line.metrics["dice"].patients for line in lines if line.kind == "network"}
    shown = _listed(dict.fromkeys(counts.values()))
    if len(set(counts.values())) > 1:
        shown = _listed(f"{name} {count}" for name, count in counts.items())
    who = f"Patients of partition '{first.cell.partition}'"
    notes = [f"{who}: {shown}, the same in every row, each scored on the patient's own grid."]
    notes += _seed_notes(results, pair)
    cell = first.cell
    drawn = f"with {cell.labelled} labelled patients and seed {cell.seed}"
    notes += [f"{note}, drawn {drawn}." for note in blind_notes(first.report)]
    counted = [line for line in lines if line.labelled == "all" and line.labelled_patients is None]
    if counted and baseline:
        notes.append("How many patients 'all' are is not known here (the data are gone): left out of the cost curve.")
    return notes


def _reading_notes(reference: str, baseline: str | None, compared: bool, saved: bool) -> list[str]:
    notes = [
        "DSC: mean over seeds of the mean over patients; ±: sample standard deviation over seeds of that mean "
        "(table.csv also has the one over patients). HD95, ASSD: means likewise. missed: share of the patients in "
        "whom a lesion is there and nothing is found; they score DSC 0 and the volume's diagonal in mm.",
        f"{BOTH}: each patient's mean over the modalities. Bold: the column's best with as many labels.",
        "Blind rows read no network: one mask beside both networks.",
    ]
    if compared:
        notes.append(
            f"Difference: mean DSC of the row less that of '{reference}' with as many labelled patients, over the "
            "seeds that both have; below 0 where "
            f"'{reference}' is better. p: Wilcoxon signed-rank test, two-sided, paired over patients (each one's "
            "mean over these seeds; patients without a difference left out), corrected by Holm's method for all "
            f"comparisons of the pair and modality. wins: seeds in which '{reference}' has the higher mean. The test "
            "is about patients, not about other draws of labels: see wins and ± for those."
        )
    if baseline:
        notes.append(
            f"Gap closed: (row - '{baseline}' with as many labels) / ('{baseline}' with all labels - '{baseline}' with "
            "as many), over the seeds that all three have; – where all labels are not better."
        )
    if saved:
        notes.append(
            f"Labels needed: labelled patients that '{baseline}' needs for the row's DSC, by its mean curve, made "
            "rising by the running maximum, straight between points over the logarithm of their number; in brackets "
            "the same less those that the row has. >: not reached with the most labels. <: the fewest labels already "
            "do better. Over the seeds that the row and every point have."
        )
    return notes


def table_md(
    results: Results,
    lines: Sequence[Line],
    *,
    reference: str,
    baseline: str | None,
    command: str,
    hashes: Mapping[str, str],
) -> str:
    """A section per pair: scores, differences to the reference, what labels are worth; then how to read and redo it."""
    text = []
    for pair in results.pairs:
        own = [line for line in lines if line.pair == pair]
        groups, names = _groups(own), summary.columns(results, pair)
        text.append(f"## {' + '.join(pair)}\n\n{_score_table(groups, names)}")
        against = _against_table(groups, names)
        text.append(
            f"Against '{reference}', in DSC; wins are those of '{reference}':\n\n{against}"
            if against
            else f"No run of '{reference}' to compare with: as many labels, the same seed.\n"
        )
        worth = _baseline_table(groups, names, baseline) if baseline else None
        if worth:
            text.append(f"Against '{baseline}', in DSC:\n\n{worth}")
        text.append("".join(f"{note}  \n" for note in _pair_notes(results, pair, own, baseline)))
    saved = any(line.saved for line in lines)
    compared = any(line.against for line in lines)
    notes = _reading_notes(reference, baseline, compared, saved)
    text.append("## How to read it\n\n" + "".join(f"- {note}\n" for note in notes))
    rows = dict.fromkeys((result.cell.row, result.cell.flags) for result in results.done)
    flags = markdown(["method", "flags of semicml_tf.train"], [[row, f"`{shlex.join(given)}`"] for row, given in rows])
    kept = "".join(f"- {name}: `{value}`\n" for name, value in hashes.items())
    text.append(
        f"## How to make it again\n\n```sh\n{command}\n```\n\n"
        "It skips runs that are there. The rows differ in these flags alone; experiment.json has the hashes "
        "of each run and its data:\n\n"
        f"{flags}\nHashes:\n\n{kept}"
    )
    return "\n".join(text)
