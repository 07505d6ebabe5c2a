"""Overlays: outlines of truth and prediction over the modalities of a few patients."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import BinaryIO

import numpy as np

from semicml_tf.errors import printable
from semicml_tf.evaluation.metrics.case_score import CaseScore
from semicml_tf.evaluation.score_cases import Answer
from semicml_tf.geometry import outlines
from semicml_tf.records.case_record import CaseRecord

_TRUTH, _PREDICTION = "#19d219", "#ff5a1f"
_ACROSS = 4  # panels per row


@dataclasses.dataclass(frozen=True, eq=False)
class Panel:
    """One slice of a patient, in network-grid pixels (rows, columns).

    Attributes:
        case_id: name of the case.
        slice_index: along the network's grid.
        slices: of the grid.
        aspect: height of a pixel over its width.
        images: by modality, normalised; those that the patient has.
        truth: bool.
        predictions: by modality, bool: the mask of that modality's network, as it was scored.
        scores: by modality, of the whole volume on the patient's own grid.
    """

    case_id: str
    slice_index: int
    slices: int
    aspect: float
    images: Mapping[str, np.ndarray]
    truth: np.ndarray
    predictions: Mapping[str, np.ndarray]
    scores: Mapping[str, CaseScore]

    @property
    def mean_dice(self) -> float:
        """Over the modalities' networks."""
        return float(np.mean([score.dice for score in self.scores.values()]))


def panel(record: CaseRecord, modalities: Sequence[str], answers: Mapping[str, Answer]) -> Panel:
    """The slice with the most truth; without any truth, the slice with the most prediction."""
    present = [name for name in modalities if name in record.images]
    masks = {name: answers[name].mask for name in present}
    area = np.count_nonzero(record.label, axis=(1, 2))
    if not area.any():
        area = sum(np.count_nonzero(mask, axis=(1, 2)) for mask in masks.values())
    index = int(np.argmax(area)) if area.any() else record.grid.shape[0] // 2
    _, height, width = record.grid.spacing_mm
    return Panel(
        case_id=record.case_id,
        slice_index=index,
        slices=record.grid.shape[0],
        aspect=height / width,
        # Copies: views would keep every patient's volumes in memory.
        images={name: record.images[name][index].astype(np.float32) for name in present},
        truth=record.label[index] != 0,
        predictions={name: mask[index].copy() for name, mask in masks.items()},
        scores={name: answers[name].score for name in present},
    )


def choose(panels: Sequence[Panel], count: int = 6) -> list[Panel]:
    """Worst, best and those evenly between them by mean DSC, worst first."""
    ordered = sorted(panels, key=lambda item: (item.mean_dice, item.case_id))
    if len(ordered) <= count:
        return ordered
    return [ordered[index] for index in np.round(np.linspace(0, len(ordered) - 1, count)).astype(int)]


def _title(item: Panel, modality: str) -> str:
    score = item.scores[modality]
    outcome = "" if score.outcome == "both present" else f" ({score.outcome})"
    name = f"{printable(item.case_id)}  {modality}  DSC {score.dice:.2f}{outcome}"
    return f"{name}\nslice {item.slice_index + 1} of {item.slices}"


def write_png(stream: BinaryIO, panels: Sequence[Panel], modalities: Sequence[str]) -> None:
    """Draws the panels: a patient's modalities side by side, and as many patients per row as have four panels.

    Args:
        stream: where the PNG goes.
        panels: at least one.
    """
    # The figure without pyplot: no display, no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

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
            outlines.draw(axes, item.truth, _TRUTH, linewidths=1.6)
            outlines.draw(axes, item.predictions[modality], _PREDICTION, linewidths=1.6, linestyles="dashed")
            axes.set_title(_title(item, modality), fontsize=9, parse_math=False)
    figure.legend(
        handles=[
            Line2D([], [], color=_TRUTH, linewidth=2, label="truth"),
            Line2D(
                [], [], color=_PREDICTION, linewidth=2, linestyle="dashed", label="that modality's network, as scored"
            ),
        ],
        loc="outside lower center",
        ncols=2,
        fontsize=10,
    )
    figure.suptitle("Worst patient first. DSC of the whole volume; the slice with the most truth.", fontsize=11)
    figure.savefig(stream, format="png", dpi=110)
