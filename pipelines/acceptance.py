"""Decides on validation patients whether a network may be published. Scores of test patients are only reported."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

from typing_extensions import TypedDict

from semicml_tf.configuration import Problem, check, option, text_of
from semicml_tf.errors import UserError
from semicml_tf.evaluation.baseline_margin import paired_dice

CHOSEN_ON = "validation"


class Check(TypedDict):
    """A bar and the value of a network; both are None if nothing was measured."""

    check: str
    value: float | None
    bound: float | None
    passed: bool


class Verdict(TypedDict):
    """The fields of the stored result of `judge` that are read."""

    checks: list[Check]
    test_dice: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bars:
    """Requirements for a network on the validation patients."""

    min_dice: float = option(0.3, help="Minimum mean DSC.", low=0, high=1)
    max_loss: float = option(
        0.02,
        help="Maximum loss of mean DSC against the latest blessed network, on the same patients.",
        low=0,
        high=1,
    )
    size_bounds_ml: tuple[float, ...] = option(
        (10.0, 50.0), help="Bounds in ml, ascending, that group patients by lesion volume.", above=0
    )
    min_slice_dice: float = option(0.0, help="Minimum mean DSC in each group.", low=0, high=1)
    max_slice_loss: float = option(0.1, help="As --max_loss, in each group.", low=0, high=1)
    min_slice_patients: int = option(3, help="A group with fewer patients is reported and not judged.")

    def __post_init__(self):
        check(self, self.contradictions())

    def contradictions(self) -> Iterator[Problem]:
        """Problems of options that are valid alone, but not together."""
        bounds = self.size_bounds_ml
        if list(bounds) != sorted(set(bounds)):
            yield f"expected --size_bounds_ml in ascending order, got {', '.join(map(text_of, bounds))}", ""


def size_slices(cases: Sequence[dict], bounds_ml: Sequence[float]) -> dict[str, list[dict]]:
    """Groups cases by the true lesion volume: empty ones, then by volume.

    Args:
        cases: of a row of `metrics.json`.
        bounds_ml: ascending bounds between the groups, in ml.
    """
    edges = [0.0, *bounds_ml, math.inf]
    slices: dict[str, list[dict]] = {"no lesion": [case for case in cases if case["truth_ml"] == 0]}
    for low, high in zip(edges, edges[1:]):
        if math.isinf(high):
            name = f"from {low:g} ml"
        else:
            name = f"{low:g} to {high:g} ml"
        slices[name] = [case for case in cases if case["truth_ml"] > 0 and low <= case["truth_ml"] < high]
    return slices


def judge(
    modality: str,
    validation: Mapping,
    bars: Bars,
    *,
    baseline: Mapping | None = None,
    not_comparable: str = "",
    test: Mapping | None = None,
) -> dict:
    """The verdict on the network of a modality.

    Args:
        modality: of the network.
        validation: `metrics.json` of the candidate on the validation patients.
        bars: the requirements.
        baseline: `metrics.json` of the latest blessed network on the same patients; None if there is none.
        not_comparable: reason why the latest blessed network could not be scored. The candidate is then not blessed.
        test: `metrics.json` of the candidate on the test patients, which does not affect the verdict.

    Returns:
        JSON values: ``blessed``; ``checks``, each with ``check``, ``value``, ``bound`` and ``passed``; ``slices``, the
        scores of the groups; and further fields for the record.
    """
    row = _row(validation, modality)
    former = None if baseline is None else _row(baseline, modality)
    checks = [_at_least("mean DSC", _mean(row["cases"]), bars.min_dice)]
    if not_comparable:
        checks.append(
            {"check": f"comparable with the latest blessed network: {not_comparable}", "value": None, "bound": None,
             "passed": False}
        )  # fmt: skip
    elif former is not None:
        checks.append(_no_loss("mean DSC beside the latest blessed network", row, former, bars.max_loss))
    named = {
        name: {"candidate": row, "baseline": former, "test": None if test is None else _row(test, modality)}
        for name in size_slices(row["cases"], bars.size_bounds_ml)
    }
    slices = {}
    for name, rows in named.items():
        cases_of = {role: _slice(scores, name, bars) for role, scores in rows.items() if scores is not None}
        slices[name] = {role: {"patients": len(cases), "dice": _mean(cases)} for role, cases in cases_of.items()}
        if len(cases_of["candidate"]) < bars.min_slice_patients:
            continue
        checks.append(_at_least(f"mean DSC, {name}", _mean(cases_of["candidate"]), bars.min_slice_dice))
        if former is not None:
            pair = ({"cases": cases_of["candidate"]}, {"cases": cases_of["baseline"]})
            checks.append(_no_loss(f"mean DSC beside the latest blessed network, {name}", *pair, bars.max_slice_loss))
    return {
        "modality": modality,
        "chosen_on": CHOSEN_ON,
        "blessed": all(check["passed"] for check in checks),
        "checks": checks,
        "slices": slices,
        "test_dice": None if test is None else _mean(_row(test, modality)["cases"]),
        "bars": dataclasses.asdict(bars),
    }


def reasons(verdict: Mapping) -> str:
    """The reasons why a network was not blessed; "" if it was blessed."""
    return "; ".join(
        check["check"] + ("" if check["value"] is None else f" is {check['value']:.3f}, below {check['bound']:.3f}")
        for check in verdict["checks"]
        if not check["passed"]
    )


def _row(body: Mapping, modality: str) -> dict:
    for row in body["rows"]:
        if row["kind"] == "network" and row["modality"] == modality:
            return row
    raise UserError(f"expected scores of a network of '{modality}', got none", remedy="Evaluate the run again")


def _slice(row: Mapping, name: str, bars: Bars) -> list[dict]:
    return size_slices(row["cases"], bars.size_bounds_ml)[name]


def _mean(cases: Sequence[Mapping]) -> float | None:
    return math.fsum(case["dice"] for case in cases) / len(cases) if cases else None


def _at_least(check_name: str, value: float | None, bound: float) -> dict:
    # Without patients there is no score, and the check fails.
    return {"check": check_name, "value": value, "bound": bound, "passed": value is not None and value >= bound}


def _no_loss(check_name: str, row: Mapping, former: Mapping, margin: float) -> dict:
    value, before, common = paired_dice(row, former)
    # Without common patients, the networks cannot be compared, and the check fails.
    if not common:
        return {"check": f"{check_name}: no patient in common", "value": None, "bound": None, "passed": False}
    # Rounding must not affect the verdict.
    passed = value >= before - margin - 1e-9
    return {"check": check_name, "value": value, "bound": before - margin, "passed": passed, "before": before}
