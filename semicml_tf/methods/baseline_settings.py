"""Every knob of the semi-supervised baselines; part of `MethodSettings`, whose rules hold here."""

from __future__ import annotations

import dataclasses

from semicml_tf.configuration import option


@dataclasses.dataclass(frozen=True)
class BaselineSettings:
    """See each field's help; the defaults are those of the SSL4MIS collection, unless a comment says why not."""

    unlabelled_weight: float = option(
        0.1,
        "Full weight of the unlabelled loss of the baselines. 0 trains on labelled slices only.",
        low=0.0,
        high=1000.0,
    )
    # There the weight grows over the whole of 30,000 steps; in a short run with a falling rate it would hardly count.
    unlabelled_ramp: float = option(
        0.4,
        "Fraction u of the stage in which that weight grows as exp(-5 (1 - u)^2). 0 gives full weight from the start.",
        low=0.0,
        high=1.0,
    )
    input_noise: float = option(
        0.1,
        "mean_teacher, ua_mt: standard deviation of the noise on the teacher's input. It is clipped at twice that.",
        low=0.0,
        high=10.0,
    )
    uncertainty_passes: int = option(
        8, "ua_mt: noisy passes of the teacher. Their mean gives the uncertainty, as an entropy.", low=1, high=100
    )
    uncertainty_dropout: bool = option(True, "ua_mt: apply dropout in these passes.")
    uncertainty_limit: float = option(
        0.75,
        "ua_mt: pixels with an entropy / ln 2 below this limit count. The limit grows to 1 with the weight.",
        low=0.0,
        high=1.0,
    )
    confidence: float = option(
        0.8,
        "fixmatch: a pixel of the weak view becomes a label if its probability, of either class, exceeds this.",
        low=0.5,
        high=1.0,
    )
    strong_view: float = option(1.0, "fixmatch: strength of the strong view's distortions.", low=0.0, high=2.0)
    mixup_alpha: float = option(
        0.2, "ict: slices are mixed with weights drawn from Beta(alpha, alpha).", low=0.01, high=1.0
    )
    auxiliary_supervised: float = option(
        1.0,
        "cct, urpc: weight of each auxiliary output's labelled loss. The main output has weight 1; the loss is their "
        "mean.",
        low=0.0,
        high=100.0,
    )
