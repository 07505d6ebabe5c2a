"""Writes the report on re-learning as Markdown, and draws reliability diagrams of the soft labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO

import numpy as np

from semicml_tf.evaluation.calibration import BINS, UNSURE
from semicml_tf.system.tables import Table

# Colour, marker and line of each time.
_STYLES = (("#8a8a8a", "o", "--"), ("#0b5fa5", "s", "-"))


def _number(value: float | None, digits: int = 3) -> str:
    return "undefined" if value is None else f"{value:.{digits}f}"


def _teachers(body: dict) -> list[str]:
    taught = body["taught"]
    scores, writers = taught["scores"], " and ".join(taught["writers"])
    if scores:
        text = ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
        seen = f"best mean validation DSC before the stage: {text}"
    else:
        seen = "there were no validation scores before the stage"
    reason = "named by --teacher_modality" if taught["named"] else "the best modality on validation"
    done = f"{taught['epochs_done']} of {taught['epochs']} epochs"
    return [
        f"The run's stage {taught['stage']}, counted from 0 ({taught['method']}): {done}.",
        f"Teacher: {taught['teacher']}, {reason}; {seen}.",
        f"Labels are written by the teachers (kind `{taught['network']}`) of {writers}: {taught['label']}.",
    ]


def _gaps(body: dict) -> str:
    names = list(body["gap"][0]["dice"])

    def text(row: dict, name: str) -> str:
        cuts = row["threshold"][name]
        shown = ", ".join(f"{name} {cut:g}" for name, cut in cuts.items()) if isinstance(cuts, dict) else f"{cuts:g}"
        return f"{row['dice'][name]:.3f}" + (f" (at {shown})" if shown else "")

    rows = [[row["when"], *(text(row, name) for name in names), f"{row['gap']:+.3f}"] for row in body["gap"]]
    others = [name for name in names if name != body["taught"]["teacher"]]
    other = others[0] if len(others) == 1 else "best other"
    return Table(["", *names, f"gap ({body['taught']['teacher']} - {other})"], rows).markdown()


def _epochs(body: dict) -> str:
    rows = [
        [
            str(row["epoch"]),
            f"{row['label_foreground']:.2%}",
            f"{row['label_mass']:.2%}",
            f"{row['truth_foreground']:.2%}",
            row["alarm"].replace("|", "/") if row["alarm"] else "",
        ]
        for row in body["epochs"]
    ]
    return Table(["epoch", "q >= 0.5", "mean q", "labelled windows", "alarm"], rows).markdown()


def _calibration(rows: Sequence[dict]) -> str:
    header = ["teacher", "label", "ECE", "ECE unsure", "Brier", "kept", "mass kept", "PPV", "DSC"]
    alike = len({row["patients"] for row in rows}) == 1
    cells = [
        [
            row["when"],
            row["label"] if alike else f"{row['label']} (n={row['patients']})",
            _number(row["ece"], 4),
            _number(row["ece_unsure"]),
            _number(row["brier"], 4),
            *(_number(row[name]) for name in ("kept", "mass_kept", "ppv", "dice")),
        ]
        for row in rows
    ]
    return Table(header, cells).markdown()


def _bins(row: dict) -> str:
    cells = [
        [
            f"{bin_['low']:.1f} to {bin_['high']:.1f}",
            str(bin_["count"]),
            _number(bin_["mean_label"]),
            _number(bin_["observed"]),
        ]
        for bin_ in row["reliability"]
    ]
    return f"{row['label']}, {row['when']}:\n\n" + Table(["q", "voxels", "mean q", "observed"], cells).markdown()


def report(body: dict, *, bins: bool = True) -> str:
    """The report in Markdown, with or without the labels' bins."""
    parts = [
        "# Re-learning from a teacher's labels\n",
        "\n".join(f"{line}  " for line in _teachers(body)) + "\n",
        "## Modality gap: mean DSC of validation patients (at the threshold chosen there)\n",
        _gaps(body),
        "## Foreground of the labels, by epoch\n",
        _epochs(body),
        "Labelled windows may lie nearer to lesions than unlabelled windows (`--lesion_fraction`), so the two shares "
        "need not be equal.\n",
        "## Soft labels against the hidden truth\n",
    ]
    measured = body["calibration"]
    if measured:
        low, high = UNSURE
        patients, of_lesion = len(measured["patients"]), {row["dice_patients"] for row in measured["rows"]}
        with_lesion = f"{of_lesion.pop()} patients" if len(of_lesion) == 1 else "the patients"
        parts += [
            _calibration(measured["rows"]),
            f"{patients} patients that were unlabelled in the run, every slice. ECE: mean of |mean q - observed share "
            f"of truth| over 10 bins, weighted by voxels; unsure: only voxels with q in ({low:g}, {high:g}). Kept: "
            "share of true foreground with q >= 0.5; mass kept: mean of q in true foreground; PPV and DSC of q >= 0.5. "
            f"DSC is a mean over {with_lesion} with a lesion; all other numbers are over voxels.\n",
            *(map(_bins, measured["rows"]) if bins else ()),
        ]
    else:
        parts.append("Not measured: pass --truth=DATASET, the same patients, all labelled.\n")
    parts += ["\n".join(f"* {note}" for note in body["notes"]) + "\n"] if body["notes"] else []
    return "\n".join(parts)


def write_png(stream: BinaryIO, rows: Sequence[dict], patients: int) -> None:
    """Draws one diagram per label, with a line for each time of the teachers, and bars below.

    Args:
        rows: of `teachers.measure`.
        patients: number of measured patients, for the title.
    """
    # Without pyplot, there is neither a display nor global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    labels = list(dict.fromkeys(row["label"] for row in rows))
    times = list(dict.fromkeys(row["when"] for row in rows))
    figure = Figure(figsize=(max(4.0 * len(labels), 5.4), 6.4), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(2, len(labels), squeeze=False, sharex=True, sharey="row", height_ratios=(3, 1))
    centres = (np.arange(BINS) + 0.5) / BINS
    for label, curve, bars in zip(labels, grid[0], grid[1]):
        curve.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":", label="perfect")
        for row in (row for row in rows if row["label"] == label):
            number = times.index(row["when"])
            colour, marker, line = _STYLES[number]
            filled = [bin_ for bin_ in row["reliability"] if bin_["count"]]
            curve.plot(
                [bin_["mean_label"] for bin_ in filled],
                [bin_["observed"] for bin_ in filled],
                color=colour,
                marker=marker,
                markersize=4,
                linestyle=line,
                label=f"{row['when']}: {_errors(row)}",
            )
            width = 0.8 / BINS / len(times)
            offset = (number - (len(times) - 1) / 2) * width
            bars.bar(centres + offset, [bin_["count"] for bin_ in row["reliability"]], width, color=colour)
        curve.set(xlim=(0, 1), ylim=(0, 1))
        # Above the axes, where the legend covers no curve.
        curve.legend(title=f"label: {label}", fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
        bars.set_yscale("log")
        bars.set_ylim(bottom=0.5)  # A single voxel has a bar.
        bars.set_xlabel("soft label q")
    grid[0, 0].set_ylabel("observed share of truth")
    grid[1, 0].set_ylabel("voxels")
    figure.suptitle(f"{patients} patients that were unlabelled in the run", fontsize=11)
    figure.savefig(stream, format="png", dpi=110)


def _errors(row: dict) -> str:
    unsure = "-" if row["ece_unsure"] is None else f"{row['ece_unsure']:.3f}"
    return f"ECE {row['ece']:.4f}, unsure {unsure}"
