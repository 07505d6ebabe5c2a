"""How many labelled patients a method saves: what labelled patients alone would need for its DSC."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from semicml_tf.experiments import annotation_cost
from semicml_tf.reporting import tables
from semicml_tf.reporting.markup import Html, element, join, number
from semicml_tf.reporting.tables import Cell

BASELINE = "supervised"
_BOUNDS = {"": "", "<": "fewer than ", ">": "more than "}
_UNKNOWN = (
    "How many labelled patients are saved cannot be told from these runs: it takes runs of labelled patients alone "
    f"(--method={BASELINE}) with at least two numbers of labelled patients"
)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _needed(curve: Mapping[int, float], mean: float, labelled: int) -> list[Cell]:
    if curve[max(curve)] <= curve[min(curve)]:
        return [Cell("more labels do not help it here"), Cell("cannot be told")]
    needed = annotation_cost.needed(curve, mean)
    bound = _BOUNDS[needed.bound]
    saved = needed.saved(labelled)
    # Where the smallest number already does better, nothing is saved.
    told = "none" if needed.bound == "<" else f"{bound}{round(saved, 1):g}"
    return [Cell(f"{bound}{round(needed.labels, 1):g}", needed.labels), Cell(told, saved)]


def section(scores: Mapping[str, Mapping[str, Mapping[int, Sequence[float]]]]) -> Html:
    """A table of what is saved, or why it cannot be told.

    Args:
        scores: by modality, method and number of labelled patients, the mean DSC of each run.
    """
    body = []
    for modality, methods in scores.items():
        curve = {count: _mean(values) for count, values in methods.get(BASELINE, {}).items()}
        if len(curve) < 2:
            continue
        for method, by_count in methods.items():
            for labelled, values in sorted(by_count.items()) if method != BASELINE else ():
                body.append(
                    [
                        tables.text_cell(method),
                        tables.text_cell(modality),
                        Cell(str(labelled), labelled),
                        Cell(str(len(values)), len(values)),
                        Cell(number(_mean(values)), _mean(values)),
                        *_needed(curve, _mean(values), labelled),
                    ]
                )
    behind = {count: len(held) for methods in scores.values() for count, held in methods.get(BASELINE, {}).items()}
    if not body:
        return element("p", f"{_UNKNOWN}; here are {_listed(sorted(behind))}.")
    headings = ["method", "network", "labelled", "runs", "mean DSC", f"'{BASELINE}' would need", "patients saved"]
    points = ", ".join(f"{count} ({runs})" for count, runs in sorted(behind.items()))
    return join(
        tables.sortable("Labelled patients saved at the same DSC", headings, body),
        element(
            "p",
            f"Beside '{BASELINE}', labelled patients alone, with so many of them (runs): {points}. Its curve is taken "
            "as rising, and as straight between its points over the logarithm of their number. More than: its "
            "largest number does not reach this DSC. Fewer than: its smallest one does better. With few runs, another "
            "training moves these numbers by much.",
            class_="note",
        ),
    )


def _listed(counts: Sequence[int]) -> str:
    return f"such runs with {', '.join(map(str, counts))} only" if counts else "none"
