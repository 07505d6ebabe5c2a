"""The experiment's figures: a dot plot of all rows and seeds, and the annotation-cost curve."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from semicml_tf.experiments import summary
from semicml_tf.experiments.results import MEAN, Results
from semicml_tf.experiments.run_spec import ALL
from semicml_tf.experiments.summary import Line

_DPI = 110
# Height in inches of a row of the dot plot, and of a panel's frame.
_ROW, _FRAME = 0.26, 1.5
_BASELINE_COLOURS = ("tab:gray", "tab:brown")


def _pyplot():
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def _png(figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    _pyplot().close(figure)
    return buffer.getvalue()


def _title(line: Line, counts: bool) -> str:
    return f"{line.row}, {line.labelled}" if counts else line.row


def _panel_rows(results: Results, lines: Sequence[Line]) -> dict[tuple[tuple[str, ...], str | None], list[Line]]:
    """The lines of each row of panels: by set of modalities and, with lines of several classes, by class."""
    targets = dict.fromkeys(line.target for line in lines)
    return {
        (modalities, target): [line for line in lines if (line.modalities, line.target) == (modalities, target)]
        for modalities in results.modality_sets
        for target in targets
    }


def _of_class(text: str, target: str | None) -> str:
    return text if target is None else f"{target}: {text}"


def _dots(axis, lines: Sequence[Line], colours: dict[str, str], reference: str) -> None:
    for place, line in enumerate(lines):
        colour = colours[line.labelled]
        # Below the mean, whose marker would cover them.
        axis.plot(line.by_seed, [place + 0.28] * len(line.by_seed), "o", color=colour, markersize=3.5, mew=0)
        mean = line.metrics["dice"].mean
        shape = "D" if line.row == reference else "o"
        axis.plot([mean], [place], shape, color=colour, markersize=7, markeredgecolor="black", mew=0.8)
        if place and lines[place - 1].labelled != line.labelled:
            axis.axhline(place - 0.5, color="black", linewidth=0.6)


def _bars(axis, baselines: Sequence[Line], ceiling: Line | None, baseline: str | None) -> None:
    for line, colour in zip(baselines, _BASELINE_COLOURS):
        axis.axvline(line.metrics["dice"].mean, color=colour, linestyle=":", linewidth=1.5, label=line.row)
    if ceiling is not None:
        label = f"{baseline}, all labels"
        axis.axvline(ceiling.metrics["dice"].mean, color="tab:green", linestyle="--", linewidth=1.5, label=label)


def table_png(results: Results, lines: Sequence[Line], *, reference: str, baseline: str | None) -> bytes:
    """A dot plot of DSC: a panel per set of modalities, class and modality, with a line per row and labelled count.

    Small dots are seeds, large dots are means over seeds (a diamond for the reference). Vertical lines are the
    no-network baselines and, with a baseline, its runs with all labels. Returns PNG bytes.
    """
    pyplot = _pyplot()
    networks = [line for line in lines if line.kind == "network"]
    palette = pyplot.get_cmap("viridis")
    labelled = sorted({line.labelled for line in networks}, key=Results.order)
    colours = {name: palette(0.15 + 0.7 * place / max(len(labelled) - 1, 1)) for place, name in enumerate(labelled)}
    panel_rows = _panel_rows(results, lines)
    heights = [len(results.settings(modalities)) * _ROW + _FRAME for modalities, _ in panel_rows]
    width = max(map(len, results.modality_sets))
    figure, axes = pyplot.subplots(
        len(heights),
        width,
        figsize=(1 + 5 * width, sum(heights)),
        height_ratios=heights,
        squeeze=False,
        layout="constrained",
    )
    for ((modalities, target), of_row), row in zip(panel_rows.items(), axes):
        for axis, modality in zip(row, modalities):
            panel = [line for line in of_row if (line.kind, line.modality) == ("network", modality)]
            _dots(axis, panel, colours, reference)
            ceiling = next((line for line in panel if (line.row, line.labelled) == (baseline, ALL)), None)
            without_network = [line for line in of_row if (line.kind, line.modality) == ("blind", modality)]
            _bars(axis, without_network, ceiling, baseline)
            axis.set_ylim(len(panel) - 0.5, -0.5)
            counts = len({line.labelled for line in panel}) > 1
            axis.set_yticks(range(len(panel)), [_title(line, counts) for line in panel] if axis is row[0] else [])
            axis.grid(axis="both", color="0.9")
            axis.set_axisbelow(True)
            axis.set_title(_of_class(f"{modality} (of {' + '.join(modalities)})", target), fontsize=10)
            axis.set_xlabel("DSC, mean over patients")
        for axis in row[len(modalities) :]:
            axis.set_axis_off()
        drawn = row[: len(modalities)]
        handles: dict[str, Any] = {}
        for axis in drawn:
            for handle, text in zip(*axis.get_legend_handles_labels()):
                handles.setdefault(text, handle)
        if handles:
            drawn[-1].legend(
                list(handles.values()), list(handles), fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0)
            )
    figure.suptitle("Small: each seed. Large: mean over seeds; diamond: the reference row", fontsize=9)
    return _png(figure)


def _curves(lines: Sequence[Line], modality: str) -> dict[str, list[Line]]:
    """Each row's points by number of labelled patients; {} if no row has two numbers."""
    points_by_row: dict[str, list[Line]] = {}
    for line in lines:
        if (line.modality, line.kind) == (modality, "network") and line.labelled_patients is not None:
            points_by_row.setdefault(line.row, []).append(line)
    ordered = {row: sorted(points, key=lambda line: line.labelled_patients) for row, points in points_by_row.items()}
    several = any(len({line.labelled_patients for line in points}) > 1 for points in ordered.values())
    return ordered if several else {}


def curve_png(results: Results, lines: Sequence[Line], *, reference: str, baseline: str | None) -> bytes | None:
    """DSC over the number of labelled patients, in the panels of `table_png`.

    A row with several numbers is a line, whose band is the sd over seeds. Other rows are diamonds. Returns PNG bytes;
    None if no row has several numbers.
    """
    panel_rows = {key: of_row for key, of_row in _panel_rows(results, lines).items() if _curves(of_row, key[0][0])}
    if not panel_rows:
        return None
    pyplot = _pyplot()
    columns = {modalities: summary.columns(results, modalities) for modalities, _ in panel_rows}
    width = max(len(names) for names in columns.values())
    figure, axes = pyplot.subplots(
        len(panel_rows), width, figsize=(4.3 * width, 4 * len(panel_rows)), squeeze=False, layout="constrained"
    )
    for ((modalities, target), of_row), row in zip(panel_rows.items(), axes):
        for axis, modality in zip(row, columns[modalities]):
            ticks = {}
            for name, points in _curves(of_row, modality).items():
                counts = [line.labelled_patients for line in points]
                means = [line.metrics["dice"].mean for line in points]
                sds = [line.metrics["dice"].sd_seeds or 0.0 for line in points]
                stroke = 2.4 if name in (reference, baseline) else 1.2
                if len(points) == 1:
                    axis.errorbar(counts, means, yerr=sds, fmt="D", markersize=6, label=name, zorder=3)
                    continue
                (drawn,) = axis.plot(counts, means, "o-", linewidth=stroke, markersize=4, label=name)
                low, high = ([mean + sign * sd for mean, sd in zip(means, sds)] for sign in (-1, 1))
                axis.fill_between(counts, low, high, color=drawn.get_color(), alpha=0.15, linewidth=0)
                for line in points:
                    shown = str(line.labelled_patients)
                    ticks[line.labelled_patients] = f"all ({shown})" if line.labelled == ALL else shown
            axis.set_xscale("log")
            axis.set_xticks(list(ticks), list(ticks.values()))
            axis.minorticks_off()
            axis.grid(color="0.9")
            title = "each patient's mean" if modality == MEAN else modality
            axis.set_title(_of_class(title, target), fontsize=10)
            axis.set_xlabel("labelled patients (logarithmic)")
        row[0].set_ylabel(f"DSC ({' + '.join(modalities)}), mean ± sd over seeds")
        for axis in row[len(columns[modalities]) :]:
            axis.set_axis_off()
        handles, texts = row[0].get_legend_handles_labels()
        row[-1].legend(handles, texts, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return _png(figure)
