"""Grid spacing, slice size and normalisation from a dataset's fingerprint, each with its reason.

The rules, for two-dimensional networks on axial slices of modalities with different resolutions:

* Slices lie as far apart as the reference modality's, in the median: networks look at one slice at a time, and slices
  that are interpolated tell nothing new.
* In plane, the geometric mean of the finest and the coarsest modality's median spacing: both are resampled by one
  factor, the coarse one up and the fine one down. Modalities of one resolution keep it.
* The window is the smallest multiple of 16 (four halvings of a U-Net) from 32 pixels on that covers the reference
  modality's body, in the larger of both directions, of 95 % of the cases, but 256 at most. Where 256 pixels do not
  cover the median body, the spacing goes up until they do, but not beyond the coarsest modality's; where they still
  do not, slices are cut into several windows.
* CT and PET, in any spelling, keep their units and usual windows. The usual MR names are normalised by percentiles. Any
  other name is guessed from its intensities, and the cases are then verified again by what was guessed.

Labels have no say in any of it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping
from typing import Any

from semicml_tf.conversion.planning.fingerprint import AXES, Fingerprint
from semicml_tf.conversion.settings import Settings
from semicml_tf.errors import UserError
from semicml_tf.preprocessing.normalisation import USUAL_CT, USUAL_MR, USUAL_PET, Normalisation, usual

WINDOW_STEP = 16
LEAST_WINDOW = 32
LARGEST_WINDOW = 256
_SPACING_LIMITS_MM = (0.1, 100.0)  # of --spacing_mm


@dataclasses.dataclass(frozen=True)
class Plan:
    """What was chosen.

    Attributes:
        settings: the user's, with what was chosen.
        window: side of the square windows to train on, in pixels; advice.
        reasons: a line each: the flag that would say the same, and why.
    """

    settings: Settings
    window: int
    reasons: tuple[str, ...]


def plan(
    fingerprint: Fingerprint, settings: Settings, given: Collection[str] = (), *, window: int | None = None
) -> Plan:
    """Chooses what the user has not.

    Args:
        fingerprint: of the dataset.
        settings: as the user's flags and their defaults made them.
        given: flags that the user set; those of ``spacing_mm`` and ``normalisation`` that are in it stay.
            ``normalisation=NAME`` stands for one modality's alone.
        window: the user's, which then stays; None to choose one.

    Raises:
        UserError: a modality has no case to choose from.
    """
    for name in settings.modalities:
        if not fingerprint.images.get(name, {}).get("cases"):
            raise UserError(
                f"expected cases with the modality '{name}' to plan from, got none",
                remedy="Check --modalities, or leave out --plan and set --spacing_mm and --normalisation yourself",
            )
    spacing, side, why = _spacing_and_window(fingerprint, settings, "spacing_mm" in given, window)
    normalisation = dict(settings.normalisation)
    for name in settings.modalities:
        text = f"--normalisation={name}={normalisation[name]}"
        if {"normalisation", f"normalisation={name}"} & set(given):
            why.append(f"{text}: as given")
            continue
        normalisation[name], reason = _usual_or_guess(name, fingerprint.images[name])
        why.append(f"--normalisation={name}={normalisation[name]}: {reason}")
    chosen = dataclasses.replace(settings, spacing_mm=spacing, normalisation=normalisation)
    return Plan(chosen, side, tuple(why))


def _spacing_and_window(
    fingerprint: Fingerprint, settings: Settings, spacing_given: bool, window: int | None
) -> tuple[tuple[float, float, float], int, list[str]]:
    reference = fingerprint.images[settings.reference_modality]
    own = [reference["spacing_mm"][axis]["median"] for axis in AXES]
    covers = reference["body_extent_mm"] or reference["extent_mm"]
    budget = window or LARGEST_WINDOW
    if spacing_given:
        spacing, how = settings.spacing_mm, "as given"
    else:
        in_plane, how = _in_plane(fingerprint, settings, max(covers[axis]["median"] for axis in AXES[1:]), budget)
        spacing = (_within_limits(_digits(own[0], 4)), in_plane, in_plane)
        how = f"slices as far apart as {settings.reference_modality}'s; in plane {how}"
    # 0 keeps each case's own spacing.
    pixels = [
        {share: covers[axis][share] / (chosen or kept) for share in ("median", "p95")}
        for axis, chosen, kept in list(zip(AXES, spacing, own))[1:]
    ]
    median, most = (max(one[share] for one in pixels) for share in ("median", "p95"))
    side = window or min(max(math.ceil(round(most, 3) / WINDOW_STEP) * WINDOW_STEP, LEAST_WINDOW), LARGEST_WINDOW)
    if window:
        reason = f"as given; the median body is {median:.0f} pixels, 95 % are below {most:.0f}"
    elif most <= side:
        reason = f"covers the body of 95 % of the cases ({most:.0f} pixels)"
    elif median <= side:
        reason = f"the largest; covers the median body ({median:.0f} pixels), 95 % of them would take {most:.0f}"
    else:
        reason = f"the largest; the median body is {median:.0f} pixels, so slices are cut into several windows"
    text = ",".join(f"{value:g}" for value in spacing)
    return spacing, side, [f"--spacing_mm={text}: {how}", f"--window={side}: {reason}"]


def _in_plane(fingerprint: Fingerprint, settings: Settings, extent_mm: float, budget: int) -> tuple[float, str]:
    """In-plane spacing in mm, and why."""
    own = {name: _own_in_plane(fingerprint.images[name]) for name in settings.modalities}
    finest, coarsest = min(own, key=own.get), max(own, key=own.get)
    if own[coarsest] <= 1.05 * own[finest]:
        kept = own[settings.reference_modality]
        return _within_limits(_digits(kept, 4)), "the modalities' own"
    between = math.sqrt(own[finest] * own[coarsest])
    told = f"{own[finest]:.3g} ({finest}) and {own[coarsest]:.3g} mm ({coarsest})"
    # Rounded upwards where the window must cover the body, or the last pixel would be missing.
    needed = min(math.ceil(extent_mm / budget * 10) / 10, own[coarsest])
    if needed > between:
        return _within_limits(_digits(needed, 4)), (
            f"coarser than midway between {told}, so that {budget} pixels cover more of the median body "
            f"({extent_mm:.0f} mm)"
        )
    return _within_limits(_digits(between, 2)), f"midway between {told}"


def _own_in_plane(images: Mapping[str, Any]) -> float:
    return math.sqrt(images["spacing_mm"]["row"]["median"] * images["spacing_mm"]["column"]["median"])


def _usual_or_guess(name: str, images: Mapping[str, Any]) -> tuple[Normalisation, str]:
    """How a modality is normalised, and why."""
    known = usual(name)
    middle = images["percentiles"].get("50")
    if known is not None:
        if known.kind == "percentile":
            return known, "MR has no unit"
        reason = f"usual for {name}"
        if middle and not known.low <= middle["median"] <= known.high:
            reason += (
                f"; but in the median its body is {middle['median']:.4g}, outside this window: "
                f"check that its values are {known.unit}"
            )
        return known, reason
    without_unit = Normalisation.parse(USUAL_MR)
    if middle is None:
        return without_unit, "a guess: it holds nothing but 0"
    low, high = images["min"]["median"], images["max"]["median"]
    bright = images["percentiles"]["99.5"]["median"]
    if -5000 <= low <= -900 and middle["median"] <= 500:
        return Normalisation.parse(USUAL_CT), (
            f"a guess: its least value, {low:.4g} in the median, looks like air in Hounsfield units"
        )
    # Uptake is skewed; MR that was divided by its mean is not.
    if low >= 0 and images["integral"] < 0.5 and 1.5 < high < 200 and bright > 5 * middle["median"]:
        return Normalisation.parse(USUAL_PET), (
            f"a guess: not negative, few bright voxels ({bright:.3g} against {middle['median']:.3g} in the middle) "
            "look like SUV"
        )
    return without_unit, f"a guess: values from {low:.4g} to {high:.4g} have no unit that could be told"


def _digits(value: float, count: int) -> float:
    return float(f"{value:.{count}g}")


def _within_limits(spacing: float) -> float:
    return min(max(spacing, _SPACING_LIMITS_MM[0]), _SPACING_LIMITS_MM[1])
