"""Learning curves: losses and validation scores by epoch."""

from __future__ import annotations

from collections.abc import Sequence

from semicml_tf.reporting import line_chart
from semicml_tf.reporting.line_chart import Series
from semicml_tf.reporting.markup import Html, by_run, element, join
from semicml_tf.reporting.run_facts import RunFacts
from semicml_tf.training.monitoring import curves

_LOGARITHMIC = ("loss", "gradient norm")
_LEFT_OUT = ("slices a second",)


def _short(panel: str, name: str) -> str:
    for beginning in curves.PANELS[panel]:
        if name.startswith(beginning) and len(name) > len(beginning):
            return name[len(beginning) :].strip("_")
    return name.replace("_", " ")


def _colour(run: RunFacts, label: str, index: int) -> int:
    """A modality has one colour on the whole page."""
    return run.modalities.index(label) if label in run.modalities else index


def _panels(run: RunFacts) -> list[tuple[str, str, list[str]]]:
    """(panel, title, columns); the validation scores of each class have a panel of their own."""
    classes = list(run.record["labels"]["classes"]) if run.record.get("labels") else []
    found = []
    for panel, names in curves.columns_of(run.history).items():
        if panel in _LEFT_OUT or not names:
            continue
        if panel != "validation Dice" or len(classes) < 2:
            found.append((panel, panel, names))
            continue
        of_class = {one: [f"dice_{name}_{one}" for name in run.modalities] for one in classes}
        taken = {name for held in of_class.values() for name in held}
        found.append((panel, panel, [name for name in names if name not in taken]))
        for one, held in of_class.items():
            shown = [name for name in held if name in names]
            found += [(panel, f"{panel} of {one}", shown)] if shown else []
    return found


def _of_run(run: RunFacts) -> Html:
    begins = [
        (row["epoch"] - 0.5, str(row["stage"]))
        for before, row in zip(run.history, run.history[1:])
        if before.get("stage") != row.get("stage")
    ]
    figures = []
    for panel, title, names in _panels(run):
        labels = [_short(panel, name) for name in names]
        if title != panel:  # of a class, which the title names
            labels = [label.removesuffix(f"_{title.rpartition(' ')[2]}") for label in labels]
        series = [
            Series(
                label,
                [(row["epoch"], row[name]) for row in run.history if isinstance(row.get(name), (int, float))],
                _colour(run, label, index),
            )
            for index, (name, label) in enumerate(zip(names, labels))
        ]
        figures.append(
            line_chart.lines(
                title,
                series,
                x_label="epoch",
                y_range=(0.0, 1.0) if panel == "validation Dice" else None,
                y_log=panel in _LOGARITHMIC,
                uprights=begins,
            )
        )
    alarms = [f"epoch {row['epoch']}: {row['alarm']}" for row in run.history if row.get("alarm")]
    return join(
        element("p", f"{run.method}, {len(run.history)} epochs."),
        element("div", figures, class_="plots"),
        element("p", "Alarms: ", "; ".join(alarms)) if alarms else None,
    )


def section(runs: Sequence[RunFacts]) -> Html:
    """The curves of all runs."""
    held = [run for run in runs if run.history]
    if not held:
        return element("p", "No run has a history yet.")
    return join(
        element("p", "Dashed uprights: a stage begins. Validation patients are others than those who are tested."),
        by_run([(run.name, _of_run(run)) for run in held]),
    )
