"""The stage in which students learned from a teacher's labels, read from the run's files."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

from semicml_tf.errors import UserError
from semicml_tf.labels import PLAIN, LabelDefinition
from semicml_tf.methods.catalogue import MethodSettings, settings_of

Row = Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Relearning:
    """The stage and its teachers.

    Attributes:
        stage: its number in the run, from 0.
        name: its method.
        rows: its epochs in the history.
        earlier: epochs before it.
        last: whether the run has no stage after it.
        finished: whether all of its epochs are done.
        teacher: the modality that teaches.
        writers: modalities whose teachers write the labels, in the run's order.
        settings: of the run's methods.
    """

    stage: int
    name: str
    rows: Sequence[Row]
    earlier: Sequence[Row]
    last: bool
    finished: bool
    teacher: str
    writers: tuple[str, ...]
    settings: MethodSettings

    @property
    def label_name(self) -> str:
        """The fusion of the writers' maps in words."""
        cut = ", cut at 0.5" if self.settings.pseudo_labels == "hard" else ""
        fusion = "fitted odds" if self.settings.label_fusion == "fitted" else self.settings.label_fusion
        return f"{fusion} of {' and '.join(self.writers)}{cut}"

    @property
    def label_is_map(self) -> bool:
        """Whether a label is the one writer's map as it is."""
        how = self.settings
        return len(self.writers) == 1 and how.label_fusion == "mean" and how.pseudo_labels == "soft"


def find(history: Sequence[Row], settings: Mapping, modalities: Sequence[str], folder) -> Relearning:
    """As `search`; `folder` is the run's, for the error.

    Raises:
        UserError: there is no such stage.
    """
    found = search(history, settings, modalities)
    if found is None:
        raise UserError(
            "no stage of this run has learned from a teacher's labels yet, so there is nothing to report",
            path=folder,
            remedy="Choose a run with such a stage; python -m semicml_tf.train --help lists the methods",
        )
    return found


def search(history: Sequence[Row], settings: Mapping, modalities: Sequence[str]) -> Relearning | None:
    """The run's last stage that learned from a teacher's labels; None if there is no such stage.

    Args:
        history: rows of history.csv.
        settings: of `run.json`, by flag name.
        modalities: the run's.
    """
    how = settings_of(settings)
    ends = list(itertools.accumulate(settings.get("epochs", ())))
    for stage in reversed(range(len(ends))):
        begin = ends[stage] - settings["epochs"][stage]
        rows = [row for row in history if begin <= int(row["epoch"]) < ends[stage]]
        if not any(row.get("label_foreground") for row in rows):
            continue
        teacher = rows[-1]["teacher"]
        return Relearning(
            stage=stage,
            name=rows[-1]["stage"],
            rows=rows,
            earlier=[row for row in history if int(row["epoch"]) < begin],
            last=stage == len(ends) - 1,
            finished=len(rows) == settings["epochs"][stage],
            teacher=teacher,
            writers=tuple(modalities) if how.teachers == "both" else (teacher,),
            settings=how,
        )
    return None


def thresholds_of(row: Row, modality: str, labels: LabelDefinition) -> float | dict[str, float]:
    """The thresholds that validation chose in an epoch: a number, of several regions by name, of classes {}."""
    if labels.exclusive:
        return {}
    if len(labels.names) == 1:
        return float(row[f"threshold_{modality}"])
    return {one: float(row[f"threshold_{modality}_{one}"]) for one in labels.names}


def scores_before(found: Relearning, modalities: Sequence[str], initial: Mapping[str, Mapping] | None):
    """Best mean validation DSC by modality when the stage began, by which a teacher is chosen; None if there was none.

    Args:
        initial: `best` of the run that this one started from, if any.
    """
    if found.earlier:
        return {name: max(float(row[f"dice_{name}"]) for row in found.earlier) for name in modalities}
    return {name: float(initial[name]["dice"]) for name in modalities} if initial else None


def gaps(
    found: Relearning,
    modalities: Sequence[str],
    best: Mapping[str, Mapping],
    initial: Mapping[str, Mapping] | None,
    labels: LabelDefinition = PLAIN,
) -> list[dict]:
    """Mean validation DSC of all modalities before, after, and of the networks that the run keeps.

    Args:
        best: `best` of the run.
        initial: that of the run that it started from, if any.
        labels: of the run.

    Returns:
        Rows of ``when``, ``dice`` and ``threshold`` by modality, and ``gap``: the DSC of the teacher's modality less
        the best DSC of the others. A gap below 0 means that another modality has overtaken it. Validation chose the
        thresholds: a number, of several regions one by name, of exclusive classes {}. DSC are means over classes.
    """

    def of_epoch(when: str, row: Row) -> tuple:
        return (
            when,
            {name: float(row[f"dice_{name}"]) for name in modalities},
            {name: thresholds_of(row, name, labels) for name in modalities},
        )

    def of_best(when: str, held: Mapping[str, Mapping]) -> tuple:
        return (
            when,
            {name: float(held[name]["dice"]) for name in modalities},
            {name: held[name].get("threshold", {}) for name in modalities},
        )

    rows = []
    if found.earlier:
        rows.append(of_epoch("before", found.earlier[-1]))
    elif initial:
        rows.append(of_best("before", initial))
    rows.append(of_epoch("after" if found.finished else "so far", found.rows[-1]))
    rows.append(of_best("kept", best))
    others = [name for name in modalities if name != found.teacher]
    return [
        {
            "when": when,
            "dice": dice,
            "threshold": cut,
            "gap": dice[found.teacher] - max(dice[name] for name in others),
        }
        for when, dice, cut in rows
    ]


def epochs(found: Relearning) -> list[dict]:
    """The labels' shares by epoch of the stage, and its alarms."""
    shares = ("label_foreground", "label_mass", "truth_foreground")
    return [
        {"epoch": int(row["epoch"]), **{name: float(row[name]) for name in shares}, "alarm": row.get("alarm") or None}
        for row in found.rows
    ]
