"""Plausibility checks of an image's grid and values, shared by conversion and prediction.

The kind of the normalisation decides, not the name of the modality: `hu` is checked as CT, `suv` as PET, `percentile`
as an image without unit.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.geometry.grid import Grid
from semicml_tf.preprocessing.normalisation import Normalisation

ERROR, WARNING = "error", "warning"

# Codes about one image alone, their severity and meaning. `--accept` turns an error of these into a warning.
GRID_CODES: dict[str, tuple[str, str]] = {
    "spacing_impossible": (ERROR, "voxels or the whole volume are so small or large that a unit was mistaken"),
    "spacing_unusual": (WARNING, "voxels are smaller than 0.1 mm or larger than 20 mm"),
    "anisotropic": (WARNING, "voxels are far longer than wide"),
    "sheared": (WARNING, "the axes of a volume are not at right angles"),
    "single_slice": (WARNING, "a volume is one voxel thick"),
}
VALUE_CODES: dict[str, tuple[str, str]] = {
    "constant_image": (ERROR, "all voxels of an image are equal"),
    "constant_input": (ERROR, "all voxels of an image are (nearly) equal once they are normalised"),
    "ct_no_hu": (ERROR, "a CT has nothing below 0 HU: most likely another modality, or an offset is left in"),
    "ct_without_air": (WARNING, "a CT has nothing below -200 HU"),
    "ct_padding": (WARNING, "a CT has values below -1100 HU, lower than air"),
    "ct_too_high": (WARNING, "a CT has values above 20000 HU"),
    "suv_no_suv": (ERROR, "a PET is most likely in another unit than SUV: its values are too high"),
    "suv_too_low": (ERROR, "a PET is most likely in another unit than SUV: its values are too low"),
    "suv_like_ct": (ERROR, "a PET has values as low as only CT has: the two may be swapped"),
    "suv_high_everywhere": (WARNING, "the body's median in PET is above SUV 2, as in kBq/ml or in a scan of the head"),
    "suv_too_high": (WARNING, "a PET has values above SUV 200"),
    "suv_negative": (WARNING, "a PET has negative values"),
    "mr_not_positive": (WARNING, "no voxel of an image without unit is above 0"),
    "mr_like_ct": (WARNING, "an image that should have no unit looks like CT in HU"),
}
CODES = {**GRID_CODES, **VALUE_CODES}
# Errors that a user may accept. The last one is about labels, which only conversion reads.
ACCEPTABLE = (*(code for code, (severity, _) in CODES.items() if severity == ERROR), "whole_label")

POSSIBLE_MM, USUAL_MM = (0.01, 200.0), (0.1, 20.0)
# A whole body is 2 m.
LARGEST_EXTENT_MM = 4000.0
# Longest side of a voxel divided by its shortest. It is 13 for old brain MR with 6 mm slices and 0.45 mm pixels.
MOST_ANISOTROPIC = 15.0
MOST_SHEARED_DEGREES = 1.0

AIR_BELOW_HU = -200.0
LOWEST_HU, HIGHEST_HU = -1100.0, 20000.0
LOWEST_SUV, HIGHEST_SUV = -0.5, 200.0
# The hottest voxel of a scan in SUV is above 3; a volume that was scaled to 0..1 ends at 1, interpolation aside.
LEAST_MAXIMUM_SUV = 1.05
# Fraction of voxels above the air's SUV of 0.1. A child in a large field of view still fills 3 %.
LEAST_BODY = 0.005
# Medians within the body: 0.4 to 1.1 in the sarcoma patients of the README, up to 6 in a scan of the brain alone.
USUAL_MEDIAN_SUV, HIGHEST_MEDIAN_SUV = 2.0, 15.0
# Fraction of the body. If the core is smaller, a very hot bladder or injection site dominates: its median is not used.
_LEAST_CORE = 0.1
# If a smaller fraction is above SUV 0.1, the background was probably set to 0, and a high median is no problem.
_LEAST_BODY_OF_MEDIAN = 0.05
# If the normalisation's window ends outside these limits, the user knows that the unit is not SUV.
_SUV_WINDOWS = (2.0, HIGHEST_SUV)
# Fraction of the normalisation's window. An image with a smaller range is constant for a network.
LEAST_SPAN = 0.01


@dataclasses.dataclass(frozen=True)
class Problem:
    """A problem of an image.

    Attributes:
        code: a key of `CODES`.
        severity: severity of the code; ``warning`` if the code is accepted.
        problem: what was expected and what was received.
        remedy: what to do.
    """

    code: str
    severity: str
    problem: str
    remedy: str


@dataclasses.dataclass(frozen=True)
class Plausibility:
    """The limits of one modality in one study; None is no limit.

    Attributes:
        spacing_mm: smallest and largest side of a voxel; others are errors.
        extent_mm: largest side of a volume; longer ones are errors.
        lowest, highest: range of usual values; others are warnings.
        minimum_above: an image with a value below this is an error.
        minimum_below: an image without a value below this is an error.
        maximum_above: an image without a value above this is an error.
        body_above: an image whose body is a smaller fraction of the voxels is an error.
        median_usual, median_below: medians of the body above these are a warning and an error.
        accepted: codes of `ACCEPTABLE` that this study accepts: their errors become warnings.
    """

    spacing_mm: tuple[float, float] = POSSIBLE_MM
    extent_mm: float = LARGEST_EXTENT_MM
    lowest: float | None = None
    highest: float | None = None
    minimum_above: float | None = None
    minimum_below: float | None = None
    maximum_above: float | None = None
    body_above: float | None = None
    median_usual: float | None = None
    median_below: float | None = None
    accepted: tuple[str, ...] = ()

    @classmethod
    def of(cls, normalisation: Normalisation, accepted: Collection[str] = ()) -> Plausibility:
        """The limits of images with this normalisation. Its window may show that the values are in another unit."""
        limits = cls(accepted=tuple(sorted(accepted)))
        if normalisation.kind == "hu":
            return dataclasses.replace(
                limits,
                lowest=LOWEST_HU,
                highest=HIGHEST_HU,
                # With a window that starts at 0 or above, the CT may lack lower values, as skull-stripped CT does.
                minimum_below=0.0 if normalisation.low < 0 else None,
            )
        if normalisation.kind == "suv":
            high = max(HIGHEST_SUV, normalisation.high)
            limits = dataclasses.replace(limits, highest=high, lowest=LOWEST_SUV, minimum_above=-high)
            if _SUV_WINDOWS[0] < normalisation.high <= _SUV_WINDOWS[1]:
                return dataclasses.replace(
                    limits,
                    maximum_above=LEAST_MAXIMUM_SUV,
                    body_above=LEAST_BODY,
                    median_usual=USUAL_MEDIAN_SUV,
                    median_below=HIGHEST_MEDIAN_SUV,
                )
        return limits

    def accepting(self, codes: Collection[str]) -> Plausibility:
        """These limits with further codes accepted."""
        return dataclasses.replace(self, accepted=tuple(sorted({*self.accepted, *codes})))

    def to_json(self) -> dict[str, Any]:
        """The limits as JSON values; see `from_json`."""
        return {**dataclasses.asdict(self), "spacing_mm": list(self.spacing_mm), "accepted": list(self.accepted)}

    @classmethod
    def from_json(cls, body: Any) -> Plausibility:
        """Reads what `to_json` wrote.

        Raises:
            ValueError: a field is missing, a number is not finite, or a code is no text.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(body, Mapping) or set(body) != set(names):
            raise ValueError(f"expected plausibility with {', '.join(names)}")
        optional = names[2:-1]
        low, high = body["spacing_mm"]
        numbers = [low, high, body["extent_mm"], *(body[name] for name in optional if body[name] is not None)]
        if not all(type(value) in (int, float) and math.isfinite(value) for value in numbers) or not 0 < low < high:
            raise ValueError("expected finite limits as plausibility")
        codes = body["accepted"]
        if not isinstance(codes, (list, tuple)) or not all(isinstance(code, str) for code in codes):
            raise ValueError("expected codes as plausibility's 'accepted'")
        return cls(**{**body, "spacing_mm": (float(low), float(high)), "accepted": tuple(codes)})

    def problem(self, code: str, problem: str, remedy: str) -> Problem:
        """A problem of this code. The remedy of an error says how to accept it; an accepted error is a warning."""
        severity = WARNING if code in self.accepted else CODES[code][0]
        if severity == ERROR:
            remedy = f"{remedy}, or pass --accept={code} if it is meant"
        return Problem(code, severity, problem, remedy)


def accepted_codes(texts: Collection[str]) -> tuple[str, ...]:
    """The codes of a flag ``--accept``, sorted.

    Raises:
        UserError: a code is not in `ACCEPTABLE`.
    """
    for text in texts:
        if text not in ACCEPTABLE:
            raise UserError(f"expected --accept=CODE,... of {', '.join(ACCEPTABLE)}, got '{text}'")
    return tuple(sorted(set(texts)))


def of_grid(grid: Grid, limits: Plausibility, *, name: str) -> list[Problem]:
    """Problems of the grid of an image. `name` is the modality's name, for messages."""
    spacing = " x ".join(f"{mm:.3g}" for mm in grid.spacing_mm) + " mm"
    found = []

    def odd(code: str, problem: str, remedy: str) -> None:
        found.append(limits.problem(code, f"'{name}' {problem}", remedy))

    low, high = min(grid.spacing_mm), max(grid.spacing_mm)
    extent = max(size * mm for size, mm in zip(grid.shape, grid.spacing_mm))
    possible = limits.spacing_mm
    rewrite = "Check whether its affine is in another unit, and rewrite it in millimetres"
    if low < possible[0] or high > possible[1]:
        expected = f"expected {possible[0]:g} to {possible[1]:g} mm"
        odd("spacing_impossible", f"has voxels of {spacing}, {expected}", rewrite)
    elif extent > limits.extent_mm:
        shape, most = " x ".join(map(str, grid.shape)), f"expected at most {limits.extent_mm:g} mm"
        odd("spacing_impossible", f"has {shape} voxels of {spacing}: {extent:.4g} mm, {most}", rewrite)
    elif low < USUAL_MM[0] or high > USUAL_MM[1]:
        odd(
            "spacing_unusual",
            f"has voxels of {spacing}, usual are {USUAL_MM[0]:g} to {USUAL_MM[1]:g} mm",
            "Check its affine, and whether it is a survey scan",
        )
    elif high / low > MOST_ANISOTROPIC:
        odd(
            "anisotropic",
            f"has voxels of {spacing}: one side is {high / low:.0f} times another",
            "Check its affine; a slice distance may be mistaken",
        )
    if min(grid.shape) == 1:
        odd("single_slice", f"is one voxel thick: shape {grid.shape}", "Check that it is the whole volume")
    skew = _shear_degrees(grid)
    if skew > MOST_SHEARED_DEGREES:
        odd(
            "sheared",
            f"has axes that are {skew:.1f} degrees off a right angle",
            "Check its affine (gantry tilt, a registration with shear); resampling follows it as it stands",
        )
    return found


def _shear_degrees(grid: Grid) -> float:
    directions = grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0)
    cosines = [abs(directions[:, a] @ directions[:, b]) for a, b in itertools.combinations(range(3), 2)]
    return float(np.degrees(np.arcsin(min(max(cosines), 1.0))))


def of_values(
    volume: np.ndarray, facts: Mapping[str, Any], normalisation: Normalisation, limits: Plausibility, *, name: str
) -> list[Problem]:
    """Problems of an image's values.

    Args:
        volume: finite, in native units.
        facts: statistics of the volume, from `intensities.intensities`.
        normalisation: normalisation of the modality. Its kind is the expected unit.
        limits: limits of the study.
        name: name of the modality, for messages.
    """
    low, high = facts["min"], facts["max"]
    found: list[Problem] = []

    def odd(code: str, problem: str, remedy: str) -> None:
        found.append(limits.problem(code, f"'{name}' {problem}", remedy))

    if low == high:
        odd(
            "constant_image",
            f"is {low:g} everywhere, expected an image in {normalisation.unit}",
            "Check how the file was made, or exclude the case",
        )
        return found
    {"hu": _hounsfield, "suv": _suv}.get(normalisation.kind, _arbitrary)(volume, facts, limits, odd)
    if all(problem.severity != ERROR for problem in found):
        _input(volume, facts, normalisation, odd)
    return found


def _hounsfield(volume: np.ndarray, facts: Mapping[str, Any], limits: Plausibility, odd) -> None:
    low, high = facts["min"], facts["max"]
    if limits.minimum_below is not None and low >= limits.minimum_below:
        odd(
            "ct_no_hu",
            f"has values from {low:g} to {high:g}, none below {limits.minimum_below:g}, expected CT in HU",
            "Check that it is this modality and in HU (rescale slope and intercept)",
        )
    elif low > AIR_BELOW_HU:
        odd(
            "ct_without_air",
            f"has values from {low:g} to {high:g}, and nothing below {AIR_BELOW_HU:g} HU: no air, hardly a CT in HU",
            "Check that it is this modality and in HU (rescale slope and intercept); fine if cropped inside a body",
        )
    if limits.lowest is not None and low < limits.lowest:
        share = float(np.count_nonzero(volume < limits.lowest)) / volume.size
        odd(
            "ct_padding",
            f"goes down to {low:g} HU, in {share:.1%} of its voxels below {limits.lowest:g}: air is -1000",
            "Nothing if that is padding outside the scanner's circle: clipping makes it air",
        )
    if limits.highest is not None and high > limits.highest:
        odd(
            "ct_too_high",
            f"goes up to {high:g} HU, expected at most {limits.highest:g}, and that in metal only",
            "Check that its values are in HU",
        )


def _suv(volume: np.ndarray, facts: Mapping[str, Any], limits: Plausibility, odd) -> None:
    low, high = facts["min"], facts["max"]
    percentiles, body = facts["percentiles"] or {}, facts["fraction"]
    most = percentiles.get("95") or 0.0
    median = facts["core_median"] if (facts["core_fraction"] or 0.0) > _LEAST_CORE else 0.0
    convert = "Convert it to SUV (dose, decay, weight), or pass a --normalisation for its unit"
    down = f"goes down to {low:g}, expected SUV of at least 0"
    if limits.minimum_above is not None and low < limits.minimum_above:
        odd("suv_like_ct", f"{down}: it looks like CT in HU", "Check whether CT and PET of this case are swapped")
        return
    if limits.lowest is not None and low < limits.lowest:
        odd("suv_negative", down, "Check that it is this modality, in SUV")
    # Urine and the injection site are a small part of the body. In Bq/ml, every organ is above the limit.
    if limits.highest is not None and most > limits.highest:
        odd(
            "suv_no_suv",
            f"goes up to {high:g}, and a twentieth of the body is above {most:g}, expected SUV: most likely it is in "
            "Bq/ml or counts",
            convert,
        )
    elif limits.median_below is not None and median > limits.median_below:
        odd(
            "suv_no_suv",
            f"has a median of {median:g} within the body, expected SUV of about 1: most likely it is in kBq/ml or "
            "scaled",
            convert,
        )
    elif limits.highest is not None and high > limits.highest:
        odd(
            "suv_too_high",
            f"goes up to {high:g}, expected SUV of at most {limits.highest:g}",
            "Check that it is in SUV; fine if that is urine or the place of injection",
        )
    elif limits.maximum_above is not None and high <= limits.maximum_above:
        odd(
            "suv_too_low",
            f"goes up to {high:g} only, expected SUV: most likely it is scaled to 0..1, in MBq/ml, or computed with a "
            "wrong weight",
            convert,
        )
    elif limits.body_above is not None and body < limits.body_above:
        odd(
            "suv_too_low",
            f"has {body:.2%} of its voxels above SUV 0.1, expected a body of at least {limits.body_above:.1%}: most "
            "likely it is scaled, in MBq/ml, or computed with a wrong weight",
            convert,
        )
    elif limits.median_usual is not None and median > limits.median_usual and body > _LEAST_BODY_OF_MEDIAN:
        odd(
            "suv_high_everywhere",
            f"has a median of {median:g} within the body, expected SUV of about 1: it may be in kBq/ml",
            "Check that it is in SUV; fine if it shows the head alone",
        )


def _arbitrary(volume: np.ndarray, facts: Mapping[str, Any], limits: Plausibility, odd) -> None:
    low, high = facts["min"], facts["max"]
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


def _input(volume: np.ndarray, facts: Mapping[str, Any], normalisation: Normalisation, odd) -> None:
    """Reports an image that is constant after normalisation. Computes constants of ``percentile`` only if needed."""
    constants, percentiles = normalisation.fixed, facts["percentiles"]
    if constants is None:
        if percentiles and percentiles["0.5"] < percentiles["99.5"]:
            return
        constants = normalisation.constants(volume)
        span, window = constants.high - constants.low, 0.0
    else:
        window = constants.high - constants.low
        span = min(facts["max"], constants.high) - max(facts["min"], constants.low)
    if span <= LEAST_SPAN * window:
        odd(
            "constant_input",
            f"has values from {facts['min']:g} to {facts['max']:g}, which {normalisation} makes (nearly) equal",
            "Check that it is this modality in this unit, or pass a --normalisation for its values",
        )
