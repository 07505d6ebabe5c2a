"""Every knob of the semi-supervised baselines; part of `MethodSettings`, whose rules hold here."""

from __future__ import annotations

import dataclasses
from typing import Any


def knob(default: Any, help_text: str, choices: tuple[str, ...] | None = None):
    """A field with what its flag's help says."""
    return dataclasses.field(default=default, metadata={"help": help_text, "choices": choices})


@dataclasses.dataclass(frozen=True)
class BaselineSettings:
    """See each field's help; the defaults are those of the SSL4MIS collection, unless a comment says why not."""

    unlabelled_weight: float = knob(
        0.1, "baselines: weight of the unlabelled loss at full height; 0: labelled slices only"
    )
    # There the weight grows over the whole of 30,000 steps; in a short run with a falling rate it would hardly count.
    unlabelled_ramp: float = knob(
        0.4, "baselines: share of the stage in which that weight grows as exp(-5 (1 - u)^2); 0: from the first step"
    )
    input_noise: float = knob(
        0.1, "mean_teacher, ua_mt: standard deviation of the noise on the teacher's input, cut at twice that"
    )
    uncertainty_passes: int = knob(8, "ua_mt: noisy passes of the teacher that its uncertainty is the entropy of")
    uncertainty_dropout: bool = knob(True, "ua_mt: dropout in these passes")
    uncertainty_limit: float = knob(
        0.75, "ua_mt: pixels count whose entropy, over ln 2, is below this limit, which grows to 1 as the weight does"
    )
    confidence: float = knob(0.8, "fixmatch: the weak view's pixels teach whose probability, either way, exceeds this")
    strong_view: float = knob(1.0, "fixmatch: strength of the strong view's distortions")
    mixup_alpha: float = knob(0.2, "ict: slices are mixed in shares drawn from Beta(alpha, alpha)")
    auxiliary_supervised: float = knob(
        1.0,
        "cct, urpc: weight of the labelled loss of each auxiliary output, beside the main one's 1; it is their mean",
    )


# By name, the lowest and highest value.
RANGES = {
    "unlabelled_weight": (0.0, 1000.0),
    "unlabelled_ramp": (0.0, 1.0),
    "input_noise": (0.0, 10.0),
    "uncertainty_passes": (1, 100),
    "uncertainty_limit": (0.0, 1.0),
    "confidence": (0.5, 1.0),
    "strong_view": (0.0, 2.0),
    "mixup_alpha": (0.01, 1.0),
    "auxiliary_supervised": (0.0, 100.0),
}
