"""Grid spacing, slice size and normalisation from a dataset's fingerprint, each with its reason.

The rules, for two-dimensional networks on axial slices of modalities with different resolutions:

* The slice spacing is the reference modality's median. Networks process single slices, and interpolated slices would
  add no information.
* The in-plane spacing is the geometric mean of the finest and the coarsest modality's median spacing. Both are then
  resampled by the same factor, one up and one down. Modalities of one resolution keep it.
* The window is a multiple of 16 (four halvings of a U-Net) from 32 to 256 pixels. It is the smallest that covers the
  reference modality's body, in the larger in-plane direction, in 95 % of the cases. If 256 pixels do not cover the
  median body, the spacing is increased until they do, at most to the coarsest modality's. If they still do not, slices
  are cut into several windows.
* CT and PET, in any spelling, keep their units and usual windows. The usual MR names are normalised by percentiles. For
  any other name, the normalisation is guessed from the intensities, and the cases are verified again with it.

The rules do not use labels.
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
    """The chosen settings.

    Attributes:
        settings: the user's settings, completed.
        window: recommended side of the square windows to train on, in pixels.
        reasons: one line per choice: the equivalent flag, and the reason.
    """

    settings: Settings
    window: int
    reasons: tuple[str, ...]


def plan(
    fingerprint: Fingerprint, settings: Settings, given: Collection[str] = (), *, window: int | None = None
) -> Plan:
    """Chooses the settings that the user did not set.

    Args:
        fingerprint: fingerprint of the dataset.
        settings: settings from the user's flags and defaults.
        given: flags that the user set, and that are not changed: ``spacing_mm``, ``normalisation``, or
            ``normalisation=NAME`` for one modality.
        window: the user's window, in pixels; None to choose one.

    Raises:
        UserError: no case has a modality.
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
    median_spacing = [reference["spacing_mm"][axis]["median"] for axis in AXES]
    body_mm = reference["body_extent_mm"] or reference["extent_mm"]
    budget = window or LARGEST_WINDOW
    if spacing_given:
        spacing, how = settings.spacing_mm, "as given"
    else:
        in_plane, how = _in_plane(fingerprint, settings, max(body_mm[axis]["median"] for axis in AXES[1:]), budget)
        spacing = (_within_limits(_digits(median_spacing[0], 4)), in_plane, in_plane)
        how = f"slices as far apart as {settings.reference_modality}'s; in plane {how}"
    # 0 keeps each case's own spacing.
    pixels = [
        {name: body_mm[axis][name] / (chosen or kept) for name in ("median", "p95")}
        for axis, chosen, kept in list(zip(AXES, spacing, median_spacing))[1:]
    ]
    median, most = (max(sides[name] for sides in pixels) for name in ("median", "p95"))
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
    spacing = {name: _median_in_plane(fingerprint.images[name]) for name in settings.modalities}
    finest, coarsest = min(spacing, key=spacing.get), max(spacing, key=spacing.get)
    if spacing[coarsest] <= 1.05 * spacing[finest]:
        return _within_limits(_digits(spacing[settings.reference_modality], 4)), "the modalities' own"
    between = math.sqrt(spacing[finest] * spacing[coarsest])
    limits = f"{spacing[finest]:.3g} ({finest}) and {spacing[coarsest]:.3g} mm ({coarsest})"
    # Rounded up, so that the window covers the last pixel of the body.
    needed = min(math.ceil(extent_mm / budget * 10) / 10, spacing[coarsest])
    if needed > between:
        return _within_limits(_digits(needed, 4)), (
            f"coarser than midway between {limits}, so that {budget} pixels cover more of the median body "
            f"({extent_mm:.0f} mm)"
        )
    return _within_limits(_digits(between, 2)), f"midway between {limits}"


def _median_in_plane(images: Mapping[str, Any]) -> float:
    return math.sqrt(images["spacing_mm"]["row"]["median"] * images["spacing_mm"]["column"]["median"])


def _usual_or_guess(name: str, images: Mapping[str, Any]) -> tuple[Normalisation, str]:
    """The normalisation of a modality, and the reason."""
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
        return without_unit, "a guess: all values are 0"
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
    return without_unit, f"a guess: values from {low:.4g} to {high:.4g} fit no known unit"


def _digits(value: float, count: int) -> float:
    return float(f"{value:.{count}g}")


def _within_limits(spacing: float) -> float:
    return min(max(spacing, _SPACING_LIMITS_MM[0]), _SPACING_LIMITS_MM[1])
