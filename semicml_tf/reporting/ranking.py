"""The patients of a run, worst first."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from semicml_tf.evaluation.case_images import BEST, WORST
from semicml_tf.reporting.kept_images import KeptCase, of_run
from semicml_tf.reporting.run_facts import RunFacts


@dataclasses.dataclass(frozen=True, eq=False)
class RankedCase:
    """A patient.

    Attributes:
        run: the run that scored the patient.
        place: rank from 1, the worst.
        of: number of patients.
        case_id: name.
        mean_dice: mean DSC over the networks that scored the patient.
        scores: the patient's entry in metrics.json by name of the network.
        of_classes: DSC of each class, by name of the network; empty for a single class.
        kept: the stored images; None without images.
    """

    run: RunFacts
    place: int
    of: int
    case_id: str
    mean_dice: float
    scores: Mapping[str, dict]
    of_classes: Mapping[str, Mapping[str, float]]
    kept: KeptCase | None

    @property
    def key(self) -> str:
        """Identifier of the patient on the page."""
        return f"{self.run.key}-case{self.place}"

    @property
    def is_worst(self) -> bool:
        """Whether the viewer shows the patient as one of the worst."""
        return self.place <= WORST

    @property
    def is_best(self) -> bool:
        """Whether the viewer shows the patient as one of the best."""
        return not self.is_worst and self.place > self.of - BEST

    @property
    def has_volumes(self) -> bool:
        """Whether the viewer could show the patient."""
        return self.kept is not None and self.kept.has_volumes


def ranked(run: RunFacts, *, images: bool = True) -> list[RankedCase]:
    """All scored patients of a run, sorted by mean DSC over the networks, then by name.

    Args:
        run: the run.
        images: whether the patients have their stored images.
    """
    scores: dict[str, dict[str, dict]] = {}
    for row in run.networks:
        for case in row["cases"]:
            scores.setdefault(str(case["case_id"]), {})[str(row.get("name"))] = case
    means = {
        name: math.fsum(float(case.get("dice") or 0.0) for case in by_network.values()) / len(by_network)
        for name, by_network in scores.items()
    }
    of_classes: dict[str, dict[str, dict[str, float]]] = {name: {} for name in scores}
    for row in (row for target in run.targets for row in run.networks_of(target)):
        for case in row["cases"]:
            of_classes[str(case["case_id"])].setdefault(str(row["name"]), {})[row["target"]] = case["dice"]
    kept = of_run(run) if images else {}
    ordered = sorted(scores, key=lambda name: (means[name], name))
    return [
        RankedCase(run, place, len(ordered), name, means[name], scores[name], of_classes[name], kept.get(name))
        for place, name in enumerate(ordered, start=1)
    ]
