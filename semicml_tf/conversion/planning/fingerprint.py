"""The fingerprint of a dataset: statistics of its images and labels over all cases."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from semicml_tf.conversion.verification.findings import CaseReport
from semicml_tf.system import json_files, tables

FILE_NAME = "fingerprint.json"
AXES = ("slice", "row", "column")

_REMEDY = "Make it with python -m semicml_tf.convert"


@dataclasses.dataclass(frozen=True)
class Fingerprint:
    """Statistics over cases.

    A *summary* is ``{"min", "p5", "p25", "median", "p75", "p95", "max"}`` of one number per case.

    Attributes:
        cases: number of cases.
        labelled: number of cases whose label was read.
        images: by modality: ``cases`` that have it; summaries by axis name (slice, row, column) of ``spacing_mm``,
            ``shape``, ``extent_mm`` and ``body_extent_mm`` ({} if no case has a body); summaries of
            ``body_fraction``, ``min``, ``max`` and, within the body, ``mean``, ``std`` and ``percentiles`` (by
            percentile); ``integral``, the fraction of cases with whole numbers only.
        foreground: statistics of the labels, or None if no label was read: number of ``cases`` with a lesion and of
            ``empty`` labels; summaries of ``volume_ml``, ``lesions`` and ``largest_extent_mm``; by modality the
            ``intensity`` within the lesion: summaries of ``mean``, ``std`` and ``percentiles``. Unless the target is
            plain, ``classes``: by name the number of ``cases`` with the class, and their summary of ``voxels``. The
            plan does not use these statistics.
    """

    cases: int
    labelled: int
    images: Mapping[str, Mapping[str, Any]]
    foreground: Mapping[str, Any] | None

    def to_json(self) -> dict[str, Any]:
        """The fingerprint as JSON values; see `from_json`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Fingerprint:
        """The fingerprint from the JSON values of `to_json`."""
        return cls(**body)

    @classmethod
    def load(cls, folder) -> Fingerprint:
        """Reads `folder`/fingerprint.json.

        Raises:
            UserError: the file is missing or malformed.
        """
        path = f"{folder}/{FILE_NAME}"
        return json_files.read(path, cls, what="a dataset's fingerprint", remedy=_REMEDY)

    def table(self) -> str:
        """A text table: one line per modality and one for the lesions, with medians and percentiles over cases."""
        rows = [["modality", "cases", "spacing mm", "shape", "body mm", "median", "0.5 to 99.5 %"]]
        for name, facts in self.images.items():
            percentiles = facts["percentiles"]
            rows.append(
                [
                    name,
                    str(facts["cases"]),
                    _by_axis(facts["spacing_mm"]),
                    _by_axis(facts["shape"]),
                    _by_axis(facts["body_extent_mm"]),
                    _range(percentiles.get("50")),
                    f"{_median(percentiles.get('0.5'))} to {_median(percentiles.get('99.5'))}",
                ]
            )
        lines = tables.aligned(rows)
        if self.foreground:
            lesions = self.foreground
            lines.append(
                f"lesions of {lesions['cases']} labelled cases ({lesions['empty']} more without): "
                f"{_range(lesions['volume_ml'])} ml, largest {_range(lesions['largest_extent_mm'])} mm"
            )
            for name, facts in lesions.get("classes", {}).items():
                lines.append(f"{name} in {facts['cases']} labelled cases: {_range(facts['voxels'])} voxels")
        lines.append("slice x row x column; medians over cases, 5th to 95th percentile in brackets")
        return "\n".join(lines)


def fingerprint(reports: Sequence[CaseReport]) -> Fingerprint:
    """The fingerprint of the reported cases. It does not depend on their order.

    Args:
        reports: reports of all cases to include. A report without label statistics counts as unlabelled.
    """
    names = list(dict.fromkeys(name for report in reports for name in report.images))
    labels = [report.label for report in reports if report.label is not None]
    return Fingerprint(
        cases=len(reports),
        labelled=len(labels),
        images={
            name: _images([report.images[name] for report in reports if report.images.get(name)]) for name in names
        },
        foreground=_foreground(labels) if labels else None,
    )


def _images(facts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    bodies = [image["body"]["extent_mm"] for image in facts if image["body"]["extent_mm"]]
    return {
        "cases": len(facts),
        "spacing_mm": _axes([image["grid"]["spacing_mm"] for image in facts]),
        "shape": _axes([image["grid"]["shape"] for image in facts]),
        "extent_mm": _axes([image["grid"]["extent_mm"] for image in facts]),
        "body_extent_mm": _axes(bodies),
        "body_fraction": _summary([image["body"]["fraction"] for image in facts]),
        "min": _summary([image["min"] for image in facts]),
        "max": _summary([image["max"] for image in facts]),
        "integral": float(np.mean([image["integral"] for image in facts])) if facts else 0.0,
        **_intensity(facts),
    }


def _foreground(labels: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    full = [label for label in labels if label["voxels"]]
    names = dict.fromkeys(name for label in full for name in label["images"])
    return {
        "cases": len(full),
        "empty": len(labels) - len(full),
        **{name: _summary([label[name] for label in full]) for name in ("volume_ml", "lesions", "largest_extent_mm")},
        "intensity": {
            name: _intensity([label["images"][name] for label in full if name in label["images"]]) for name in names
        },
        **_classes(labels),
    }


def _classes(labels: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    counts: dict[str, list[int]] = {}
    for label in labels:
        for name, voxels in label.get("classes", {}).items():
            counts.setdefault(name, []).extend([voxels] if voxels else [])
    classes = {name: {"cases": len(voxels), "voxels": _summary(voxels)} for name, voxels in counts.items()}
    return {"classes": classes} if classes else {}


def _intensity(facts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    known = [image for image in facts if image["mean"] is not None]
    percentiles = known[0]["percentiles"] if known else ()
    return {
        "mean": _summary([image["mean"] for image in known]),
        "std": _summary([image["std"] for image in known]),
        "percentiles": {name: _summary([image["percentiles"][name] for image in known]) for name in percentiles},
    }


def _axes(triples: Sequence[Sequence[float]]) -> dict[str, Any]:
    return {axis: _summary(column) for axis, column in zip(AXES, zip(*triples))}


def _summary(values: Sequence[float]) -> dict[str, float] | None:
    if not len(values):
        return None
    numbers = np.percentile(np.array(values, np.float64), [0, 5, 25, 50, 75, 95, 100])
    names = ("min", "p5", "p25", "median", "p75", "p95", "max")
    return dict(zip(names, (float(f"{number:.6g}") for number in numbers)))


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _median(summary: Mapping[str, float] | None) -> str:
    return "-" if summary is None else _number(summary["median"])


def _range(summary: Mapping[str, float] | None) -> str:
    if summary is None:
        return "-"
    return f"{_number(summary['median'])} ({_number(summary['p5'])} to {_number(summary['p95'])})"


def _by_axis(axes: Mapping[str, Mapping[str, float]]) -> str:
    return " x ".join(_number(axes[axis]["median"]) for axis in AXES) if axes else "-"
