"""Value ranges that make no sense for the named modality, by the unit that its normalisation expects."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from semicml_tf.conversion.findings import Finding
from semicml_tf.normalisation import Normalisation

AIR_BELOW_HU = -200.0
LOWEST_HU, HIGHEST_HU = -1100.0, 20000.0
HIGHEST_SUV, LOWEST_SUV = 200.0, -0.5


def findings(
    volume: np.ndarray,
    facts: Mapping[str, Any],
    normalisation: Normalisation,
    *,
    case_id: str,
    name: str,
    path: str | os.PathLike,
) -> list[Finding]:
    """Findings about an image's values.

    Args:
        volume: 3-D, in native units.
        facts: of it, as `conversion.facts.image_facts` tells them.
        normalisation: of the modality; its kind says which unit to expect.
        case_id, name, path: are told; `name` is the modality's.
    """
    low, high = facts["min"], facts["max"]
    found = []

    def odd(code: str, problem: str, remedy: str) -> None:
        found.append(Finding.of(code, f"'{name}' {problem}", case=case_id, file=path, remedy=remedy))

    if low == high:
        odd(
            "constant_image",
            f"is {low:g} everywhere, expected an image in {normalisation.unit}",
            "Check how the file was made, or exclude the case",
        )
    elif normalisation.kind == "hu":
        _hounsfield(volume, low, high, odd)
    elif normalisation.kind == "suv":
        _suv(facts, low, high, normalisation, odd)
    else:
        _arbitrary(low, high, odd)
    return found


def _hounsfield(volume: np.ndarray, low: float, high: float, odd) -> None:
    if low > AIR_BELOW_HU:
        odd(
            "ct_without_air",
            f"has values from {low:g} to {high:g}, and nothing below {AIR_BELOW_HU:g} HU: no air, hardly a CT in HU",
            "Check that it is this modality and in HU (rescale slope and intercept); fine if cropped inside a body",
        )
    if low < LOWEST_HU:
        share = float(np.count_nonzero(volume < LOWEST_HU)) / volume.size
        odd(
            "ct_padding",
            f"goes down to {low:g} HU, in {share:.1%} of its voxels below {LOWEST_HU:g}: air is -1000",
            "Nothing if that is padding outside the scanner's circle: clipping makes it air",
        )
    if high > HIGHEST_HU:
        odd(
            "ct_too_high",
            f"goes up to {high:g} HU, expected at most {HIGHEST_HU:g}, and that in metal only",
            "Check that its values are in HU",
        )


def _suv(facts: Mapping[str, Any], low: float, high: float, normalisation: Normalisation, odd) -> None:
    if low < LOWEST_SUV:
        like_ct = ": it looks like CT in HU" if low < AIR_BELOW_HU else ""
        odd(
            "suv_negative",
            f"goes down to {low:g}, expected SUV of at least 0{like_ct}",
            "Check that it is this modality, in SUV",
        )
    # Who asks for a window up there has told that the unit is another one.
    if high <= max(HIGHEST_SUV, normalisation.high):
        return
    # Urine and the place of injection are a small part of a volume; in Bq/ml every organ is above.
    most = (facts["percentiles"] or {}).get("95") or 0.0
    if most > max(HIGHEST_SUV, normalisation.high):
        odd(
            "suv_no_suv",
            f"goes up to {high:g}, and a twentieth of the body is above {most:g}, expected SUV: most likely it is in "
            "Bq/ml or counts",
            "Convert it to SUV (dose, decay, weight), or pass a --normalisation for its unit",
        )
    else:
        odd(
            "suv_too_high",
            f"goes up to {high:g}, expected SUV of at most {HIGHEST_SUV:g}",
            "Check that it is in SUV; fine if that is urine or the place of injection",
        )


def _arbitrary(low: float, high: float, odd) -> None:
    if high <= 0:
        odd(
            "mr_not_positive",
            f"has values from {low:g} to {high:g}, none above 0",
            "Check how the file was made; 0 is taken for outside the body",
        )
    elif low <= -900 and high >= 300:
        odd(
            "mr_like_ct",
            f"has values from {low:g} to {high:g}, as CT in HU has",
            "Check that it is this modality; if it is CT, pass --normalisation=NAME=hu:LOW:HIGH",
        )
