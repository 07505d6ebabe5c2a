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
    """The colour of a series. A modality has the same colour on the whole page."""
    return run.modalities.index(label) if label in run.modalities else index


def _panels(run: RunFacts) -> list[tuple[str, str, list[str]]]:
    """(panel, title, columns) of each panel. Validation scores of each class have separate panels."""
    classes = list(run.record["labels"]["classes"]) if run.record.get("labels") else []
    panels = []
    for panel, names in curves.columns_of(run.history).items():
        if panel in _LEFT_OUT or not names:
            continue
        if panel != "validation Dice" or len(classes) < 2:
            panels.append((panel, panel, names))
            continue
        of_class = {class_name: [f"dice_{name}_{class_name}" for name in run.modalities] for class_name in classes}
        taken = {name for columns in of_class.values() for name in columns}
        panels.append((panel, panel, [name for name in names if name not in taken]))
        for class_name, columns in of_class.items():
            shown = [name for name in columns if name in names]
            panels += [(panel, f"{panel} of {class_name}", shown)] if shown else []
    return panels


def _of_run(run: RunFacts) -> Html:
    begins = [
        (row["epoch"] - 0.5, str(row["stage"]))
        for before, row in zip(run.history, run.history[1:])
        if before.get("stage") != row.get("stage")
    ]
    figures = []
    for panel, title, names in _panels(run):
        labels = [_short(panel, name) for name in names]
        if title != panel:  # the title names the class
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
    trained = [run for run in runs if run.history]
    if not trained:
        return element("p", "No run has a history yet.")
    return join(
        element("p", "Dashed vertical lines: start of a stage. Validation patients are not the test patients."),
        by_run([(run.name, _of_run(run)) for run in trained]),
    )
