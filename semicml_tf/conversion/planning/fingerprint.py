"""What the cases of a dataset have in common and how far they differ: the facts of all cases, summed up."""

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

    A *summary* is ``{"min", "p5", "p25", "median", "p75", "p95", "max"}`` of one number of each case.

    Attributes:
        cases: whose facts are in it.
        labelled: of these, those whose label was read.
        images: by modality: ``cases`` that have it; summaries by axis name (slice, row, column) of ``spacing_mm``,
            ``shape``, ``extent_mm`` and ``body_extent_mm`` ({} where no case has a body); summaries of
            ``body_fraction``, ``min``, ``max`` and, within the body, ``mean``, ``std`` and ``percentiles`` (by
            percentile); ``integral``, the fraction of cases that hold whole numbers only.
        foreground: of the labels that were read, or None where there is none: ``cases`` with a lesion, ``empty``
            ones, summaries of ``volume_ml``, ``lesions`` and ``largest_extent_mm``, and by modality the
            ``intensity`` within: summaries of ``mean``, ``std`` and ``percentiles``. Unless the target is plain,
            ``classes``: by name the number of ``cases`` that have the class, and of these a summary of ``voxels``.
            Nothing is chosen by it.
    """

    cases: int
    labelled: int
    images: Mapping[str, Mapping[str, Any]]
    foreground: Mapping[str, Any] | None

    def to_json(self) -> dict[str, Any]:
        """JSON values; `from_json` is the way back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Fingerprint:
        """The fingerprint that `to_json` told."""
        return cls(**body)

    @classmethod
    def load(cls, folder) -> Fingerprint:
        """Reads `folder`/fingerprint.json.

        Raises:
            UserError: it is not there, or is no JSON.
        """
        path = f"{folder}/{FILE_NAME}"
        return json_files.read(path, cls, what="a dataset's fingerprint", remedy=_REMEDY)

    def table(self) -> str:
        """For the screen: a line a modality, one for the lesions; medians, with 5th to 95th percentile over cases."""
        rows = [["modality", "cases", "spacing mm", "shape", "body mm", "median", "0.5 to 99.5 %"]]
        for name, facts in self.images.items():
            shares = facts["percentiles"]
            rows.append(
                [
                    name,
                    str(facts["cases"]),
                    _by_axis(facts["spacing_mm"]),
                    _by_axis(facts["shape"]),
                    _by_axis(facts["body_extent_mm"]),
                    _range(shares.get("50")),
                    f"{_median(shares.get('0.5'))} to {_median(shares.get('99.5'))}",
                ]
            )
        lines = tables.aligned(rows)
        if self.foreground:
            found = self.foreground
            lines.append(
                f"lesions of {found['cases']} labelled cases ({found['empty']} more without): "
                f"{_range(found['volume_ml'])} ml, largest {_range(found['largest_extent_mm'])} mm"
            )
            for name, held in found.get("classes", {}).items():
                lines.append(f"{name} in {held['cases']} labelled cases: {_range(held['voxels'])} voxels")
        lines.append("slice x row x column; medians over cases, 5th to 95th percentile in brackets")
        return "\n".join(lines)


def fingerprint(reports: Sequence[CaseReport]) -> Fingerprint:
    """Sums up the reports' facts; their order does not matter.

    Args:
        reports: of the cases that are to count, whatever their partition. Labels count where a report has one.
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
    bodies = [one["body"]["extent_mm"] for one in facts if one["body"]["extent_mm"]]
    return {
        "cases": len(facts),
        "spacing_mm": _axes([one["grid"]["spacing_mm"] for one in facts]),
        "shape": _axes([one["grid"]["shape"] for one in facts]),
        "extent_mm": _axes([one["grid"]["extent_mm"] for one in facts]),
        "body_extent_mm": _axes(bodies),
        "body_fraction": _summary([one["body"]["fraction"] for one in facts]),
        "min": _summary([one["min"] for one in facts]),
        "max": _summary([one["max"] for one in facts]),
        "integral": float(np.mean([one["integral"] for one in facts])) if facts else 0.0,
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
    found = {name: {"cases": len(held), "voxels": _summary(held)} for name, held in counts.items()}
    return {"classes": found} if found else {}


def _intensity(facts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    there = [one for one in facts if one["mean"] is not None]
    shares = there[0]["percentiles"] if there else ()
    return {
        "mean": _summary([one["mean"] for one in there]),
        "std": _summary([one["std"] for one in there]),
        "percentiles": {share: _summary([one["percentiles"][share] for one in there]) for share in shares},
    }


def _axes(triples: Sequence[Sequence[float]]) -> dict[str, Any]:
    return {axis: _summary(column) for axis, column in zip(AXES, zip(*triples))}


def _summary(values: Sequence[float]) -> dict[str, float] | None:
    if not len(values):
        return None
    shares = np.percentile(np.array(values, np.float64), [0, 5, 25, 50, 75, 95, 100])
    return dict(zip(("min", "p5", "p25", "median", "p75", "p95", "max"), (float(f"{share:.6g}") for share in shares)))


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
