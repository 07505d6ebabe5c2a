"""How many labelled patients a method saves: what labelled patients alone would need for its DSC."""

from __future__ import annotations

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


def _needed(needed: annotation_cost.Needed, labelled: int) -> list[Cell]:
    saved = needed.saved(labelled)
    bound = _BOUNDS[needed.bound]
    # "Fewer than 4" that were not needed say nothing of a saving.
    told = "none" if needed.bound == "<" else f"{bound}{saved:.1f}"
    return [Cell(f"{bound}{needed.labels:.1f}", needed.labels), Cell(told, saved)]


def section(means: Mapping[str, Mapping[str, Mapping[int, float]]]) -> Html:
    """A table of what is saved, or why it cannot be told.

    Args:
        means: mean DSC by modality, method and number of labelled patients.
    """
    body = []
    for modality, methods in means.items():
        curve = methods.get(BASELINE, {})
        if len(curve) < 2:
            continue
        for method, by_count in methods.items():
            for labelled, mean in sorted(by_count.items()) if method != BASELINE else ():
                body.append(
                    [
                        tables.text_cell(method),
                        tables.text_cell(modality),
                        Cell(str(labelled), labelled),
                        Cell(number(mean), mean),
                        *_needed(annotation_cost.needed(curve, mean), labelled),
                    ]
                )
    if not body:
        counts = sorted({count for methods in means.values() for count in methods.get(BASELINE, ())})
        return element("p", f"{_UNKNOWN}; here are {_listed(counts)}.")
    headings = ["method", "network", "labelled", "mean DSC", f"'{BASELINE}' would need", "labelled patients saved"]
    return join(
        tables.sortable("Labelled patients saved at the same DSC", headings, body),
        element(
            "p",
            f"The curve of '{BASELINE}' (labelled patients alone) is taken as rising, and as straight between its "
            "points over the logarithm of their number. More than: its largest number does not reach this DSC. Fewer "
            "than: its smallest one does better. One training more or less moves these numbers: they are worth what "
            "the runs behind each point are.",
            class_="note",
        ),
    )


def _listed(counts: Sequence[int]) -> str:
    return f"such runs with {', '.join(map(str, counts))} only" if counts else "none"
