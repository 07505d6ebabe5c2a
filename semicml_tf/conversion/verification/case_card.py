"""The card of a case: what verification told of it, as scalars by name; see `records.case_cards`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from semicml_tf.conversion.verification.findings import CaseReport
from semicml_tf.records.case_cards import AXES, CASE, PARTITION, SPAN, Card


def card(report: CaseReport, *, partition: str, span: int, modalities: tuple[str, ...]) -> Card:
    """A case's card; a feature that a case has no value of (a lesion's extent, where there is none) is left out.

    Args:
        report: of verification, with its label's facts where the partition has labels.
        partition: of the case.
        span: number of the delivery; 0 for none.
        modalities: of the dataset; the lesion is compared with the body in the first that the case has.
    """
    names = [name for name in modalities if name in report.images]
    told: dict[str, Any] = {}
    for name in names:
        told |= {f"{name}/{what}": value for what, value in _of_image(report.images[name]).items()}
    if report.label is not None:
        told |= _of_label(report.label, report.images[names[0]])
        for name in names:
            inside = report.label["images"].get(name) or {}
            told |= {f"{name}/lesion/{what}": inside.get(what) for what in ("mean", "covered")}
    numbers = {name: float(value) for name, value in told.items() if value is not None}
    return {CASE: report.case_id, PARTITION: partition, SPAN: span, **numbers}


def _of_image(facts: Mapping[str, Any]) -> dict[str, Any]:
    grid = facts["grid"]
    by_axis = {
        f"{what}/{axis}": value
        for what in ("spacing_mm", "shape", "extent_mm")
        for axis, value in zip(AXES, grid[what])
    }
    percentiles = {f"p{share}": value for share, value in (facts["percentiles"] or {}).items()}
    of_all = {what: facts[what] for what in ("min", "max", "mean", "std")}
    return {**by_axis, **of_all, **percentiles, "body_fraction": facts["body"]["fraction"]}


def _of_label(label: Mapping[str, Any], image: Mapping[str, Any]) -> dict[str, Any]:
    extent = image["grid"]["extent_mm"]
    body_ml = extent[0] * extent[1] * extent[2] / 1000 * image["body"]["fraction"]
    empty = not label["voxels"]
    return {
        "lesion/volume_ml": label["volume_ml"],
        "lesion/count": label["lesions"],
        "lesion/fraction": label["volume_ml"] / body_ml if body_ml else None,
        "lesion/largest_extent_mm": None if empty else label["largest_extent_mm"],
    }
