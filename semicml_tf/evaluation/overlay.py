"""Overlays: outlines of truth and prediction over the modalities of a few patients.

Several classes have a colour each, truth in solid and predictions in dashed lines.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import BinaryIO

import numpy as np

from semicml_tf.errors import printable
from semicml_tf.evaluation.metrics.case_score import CaseScore, mean_over_classes
from semicml_tf.evaluation.score_cases import Answer
from semicml_tf.geometry import outlines
from semicml_tf.records.case_record import CaseRecord

_ACROSS = 4  # panels per row
_MOST_IN_TITLE = 4  # classes whose DSC a title names


@dataclasses.dataclass(frozen=True, eq=False)
class Panel:
    """One slice of a patient on the network's grid, (rows, columns).

    Attributes:
        case_id: name of the case.
        slice_index: along the network's grid.
        slices: number of slices of the grid.
        aspect: height of a pixel over its width.
        images: normalised, by modality that the patient has.
        classes: names.
        truth: (classes, rows, columns) of bool.
        predictions: by modality, (classes, rows, columns) of bool: the scored masks of that modality's network.
        scores: by modality and class, of the whole volume on the patient's own grid.
    """

    case_id: str
    slice_index: int
    slices: int
    aspect: float
    images: Mapping[str, np.ndarray]
    classes: tuple[str, ...]
    truth: np.ndarray
    predictions: Mapping[str, np.ndarray]
    scores: Mapping[str, Mapping[str, CaseScore]]

    @property
    def mean_dice(self) -> float:
        """Mean DSC over networks and classes."""
        return float(np.mean([score.dice for of_classes in self.scores.values() for score in of_classes.values()]))


def panel(record: CaseRecord, modalities: Sequence[str], answers: Mapping[str, Answer]) -> Panel:
    """The slice with the largest true area; without truth, the slice with the largest predicted area."""
    present = [name for name in modalities if name in record.images]
    masks = {name: answers[name].masks for name in present}
    area = np.count_nonzero(record.labels.any(record.label), axis=(1, 2))
    if not area.any():
        area = sum(np.count_nonzero(mask, axis=(0, 2, 3)) for mask in masks.values())
    index = int(np.argmax(area)) if area.any() else record.grid.shape[0] // 2
    _, height, width = record.grid.spacing_mm
    return Panel(
        case_id=record.case_id,
        slice_index=index,
        slices=record.grid.shape[0],
        aspect=height / width,
        # Copies: views would keep every patient's volumes in memory.
        images={name: record.images[name][index].astype(np.float32) for name in present},
        classes=record.labels.names,
        truth=record.labels.masks(record.label[index]) != 0,
        predictions={name: mask[:, index].copy() for name, mask in masks.items()},
        scores={name: answers[name].scores for name in present},
    )


def choose(panels: Sequence[Panel], count: int = 6) -> list[Panel]:
    """The worst and the best panel by mean DSC, and panels at even steps between them; worst first."""
    ordered = sorted(panels, key=lambda item: (item.mean_dice, item.case_id))
    if len(ordered) <= count:
        return ordered
    return [ordered[index] for index in np.round(np.linspace(0, len(ordered) - 1, count)).astype(int)]


def _title(item: Panel, modality: str) -> str:
    of_classes = item.scores[modality]
    score = mean_over_classes(list(of_classes.values()))
    outcome = "" if score.outcome == "both present" else f" ({score.outcome})"
    name = f"{printable(item.case_id)}  {modality}  DSC {score.dice:.2f}{outcome}"
    dice_by_class = ""
    if 1 < len(of_classes) <= _MOST_IN_TITLE:
        dice_by_class = "".join(f"  {class_name} {score.dice:.2f}" for class_name, score in of_classes.items())
    return f"{name}\nslice {item.slice_index + 1} of {item.slices}{dice_by_class}"


def _colours(classes: Sequence[str]) -> list[tuple[str, str]]:
    """Colours of truth and prediction, for each class."""
    if len(classes) == 1:
        return [(outlines.TRUTH, outlines.PREDICTION)]
    return [(outlines.class_colour(number),) * 2 for number in range(len(classes))]


def _legend(classes: Sequence[str], predicted: str):
    from matplotlib.lines import Line2D

    ((truth, prediction), *_) = _colours(classes) if len(classes) == 1 else [("black", "black")]
    handles = [
        Line2D([], [], color=truth, linewidth=2, label="truth"),
        Line2D([], [], color=prediction, linewidth=2, linestyle="dashed", label=predicted),
    ]
    if len(classes) > 1:
        handles += [
            Line2D([], [], color=colour, linewidth=4, label=class_name)
            for class_name, (colour, _) in zip(classes, _colours(classes))
        ]
    return handles


def write_png(
    stream: BinaryIO,
    panels: Sequence[Panel],
    modalities: Sequence[str],
    predicted: str = "that modality's network, as scored",
) -> None:
    """Draws a patient's modalities side by side, with at most four images per row if the modalities allow it.

    Args:
        stream: receives the PNG.
        panels: at least one.
        predicted: legend of the dashed lines.
    """
    # Without pyplot, there is neither a display nor global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    across = min(max(1, _ACROSS // len(modalities)), len(panels))
    rows, columns = -(-len(panels) // across), across * len(modalities)
    figure = Figure(figsize=(3.2 * columns, 3.6 * rows + 0.9), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for index, item in enumerate(panels):
        for column, modality in enumerate(modalities):
            axes = grid[index // across, index % across * len(modalities) + column]
            image = item.images.get(modality)
            if image is None:
                axes.set_title(f"{printable(item.case_id)}\nno {modality}", fontsize=9, parse_math=False)
                continue
            # The brightest 0.5 % of the pixels would make the others black.
            low, high = float(image.min()), float(np.percentile(image, 99.5))
            axes.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), aspect=item.aspect)
            pairs = zip(item.truth, item.predictions[modality], _colours(item.classes))
            for truth, prediction, (colour, other) in pairs:
                outlines.draw(axes, truth, colour, linewidths=1.6)
                outlines.draw(axes, prediction, other, linewidths=1.6, linestyles="dashed")
            axes.set_title(_title(item, modality), fontsize=9, parse_math=False)
    handles = _legend(panels[0].classes, predicted)
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 6), fontsize=10)
    figure.suptitle("Worst patient first. DSC of the whole volume; the slice with the most truth.", fontsize=11)
    figure.savefig(stream, format="png", dpi=110)
