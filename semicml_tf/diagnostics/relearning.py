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
    """A stage of re-learning and its teachers.

    Attributes:
        number: of the stage in the run, from 0.
        name: method of the stage.
        rows: epochs of the stage in the history.
        earlier: epochs before the stage.
        last: whether the run has no later stage.
        finished: whether all epochs are done.
        teacher: modality of the teacher.
        writers: modalities whose teachers write the labels, in the run's order.
        settings: of the run's methods.
    """

    number: int
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
        """A description of the fusion of the writers' maps."""
        cut = ", cut at 0.5" if self.settings.pseudo_labels == "hard" else ""
        fusion = "fitted odds" if self.settings.label_fusion == "fitted" else self.settings.label_fusion
        return f"{fusion} of {' and '.join(self.writers)}{cut}"

    @property
    def label_is_map(self) -> bool:
        """Whether the label is the unchanged map of a single writer."""
        settings = self.settings
        return len(self.writers) == 1 and settings.label_fusion == "mean" and settings.pseudo_labels == "soft"


def find(history: Sequence[Row], settings: Mapping, modalities: Sequence[str], folder) -> Relearning:
    """Like `search`, but with an error that names the run's `folder`.

    Raises:
        UserError: the run has no such stage.
    """
    stage = search(history, settings, modalities)
    if stage is None:
        raise UserError(
            "no stage of this run has learned from a teacher's labels yet",
            path=folder,
            remedy="Choose a run with such a stage; python -m semicml_tf.train --help lists the methods",
        )
    return stage


def search(history: Sequence[Row], settings: Mapping, modalities: Sequence[str]) -> Relearning | None:
    """The run's last stage that learned from a teacher's labels; None without such a stage.

    Args:
        history: rows of history.csv.
        settings: of `run.json`, by flag name.
        modalities: the run's.
    """
    method_settings = settings_of(settings)
    ends = list(itertools.accumulate(settings.get("epochs", ())))
    for number in reversed(range(len(ends))):
        begin = ends[number] - settings["epochs"][number]
        rows = [row for row in history if begin <= int(row["epoch"]) < ends[number]]
        if not any(row.get("label_foreground") for row in rows):
            continue
        teacher = rows[-1]["teacher"]
        return Relearning(
            number=number,
            name=rows[-1]["stage"],
            rows=rows,
            earlier=[row for row in history if int(row["epoch"]) < begin],
            last=number == len(ends) - 1,
            finished=len(rows) == settings["epochs"][number],
            teacher=teacher,
            writers=tuple(modalities) if method_settings.teachers == "both" else (teacher,),
            settings=method_settings,
        )
    return None


def thresholds_of(row: Row, modality: str, labels: LabelDefinition) -> float | dict[str, float]:
    """The thresholds of an epoch: a number, by name for several regions, or {} for exclusive classes."""
    if labels.exclusive:
        return {}
    if len(labels.names) == 1:
        return float(row[f"threshold_{modality}"])
    return {name: float(row[f"threshold_{modality}_{name}"]) for name in labels.names}


def scores_before(stage: Relearning, modalities: Sequence[str], initial: Mapping[str, Mapping] | None):
    """Best mean validation DSC by modality at the start of the stage, which chose the teacher; None without scores.

    Args:
        initial: `best` of the initial run, if any.
    """
    if stage.earlier:
        return {name: max(float(row[f"dice_{name}"]) for row in stage.earlier) for name in modalities}
    return {name: float(initial[name]["dice"]) for name in modalities} if initial else None


def gaps(
    stage: Relearning,
    modalities: Sequence[str],
    best: Mapping[str, Mapping],
    initial: Mapping[str, Mapping] | None,
    labels: LabelDefinition = PLAIN,
) -> list[dict]:
    """Mean validation DSC of all modalities before and after the stage, and of the networks that the run keeps.

    Args:
        best: `best` of the run.
        initial: `best` of the initial run, if any.
        labels: of the run.

    Returns:
        Rows of ``when``, ``dice`` and ``threshold`` by modality, and ``gap``: DSC of the teacher's modality minus the
        best DSC of the others. A negative gap means that another modality is better. DSC are means over classes. For
        thresholds see `thresholds_of`.
    """

    def of_epoch(when: str, row: Row) -> tuple:
        return (
            when,
            {name: float(row[f"dice_{name}"]) for name in modalities},
            {name: thresholds_of(row, name, labels) for name in modalities},
        )

    def of_best(when: str, networks: Mapping[str, Mapping]) -> tuple:
        return (
            when,
            {name: float(networks[name]["dice"]) for name in modalities},
            {name: networks[name].get("threshold", {}) for name in modalities},
        )

    rows = []
    if stage.earlier:
        rows.append(of_epoch("before", stage.earlier[-1]))
    elif initial:
        rows.append(of_best("before", initial))
    rows.append(of_epoch("after" if stage.finished else "so far", stage.rows[-1]))
    rows.append(of_best("kept", best))
    others = [name for name in modalities if name != stage.teacher]
    return [
        {
            "when": when,
            "dice": dice,
            "threshold": cut,
            "gap": dice[stage.teacher] - max(dice[name] for name in others),
        }
        for when, dice, cut in rows
    ]


def epochs(stage: Relearning) -> list[dict]:
    """Foreground shares of the labels and alarms, by epoch of the stage."""
    shares = ("label_foreground", "label_mass", "truth_foreground")
    return [
        {"epoch": int(row["epoch"]), **{name: float(row[name]) for name in shares}, "alarm": row.get("alarm") or None}
        for row in stage.rows
    ]
