"""Normalisation of intensities in native units, and the usual one for each name of a modality."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from semicml_tf.errors import UserError

# Defaults. HU window: soft tissue with margins. SUV: FDG saturates above 15. MR has no unit: its scale comes from the
# volume itself.
USUAL_CT, USUAL_PET, USUAL_MR = "hu:-200:300", "suv:0:15", "percentile:0.5:99.5"
_MR_NAMES = ("t1", "t1ce", "t2", "flair", "mr", "adc", "dwi", "pd", "swi", "dce", "t2star")
_USUAL = {"ct": USUAL_CT, "pet": USUAL_PET, **dict.fromkeys(_MR_NAMES, USUAL_MR)}
# Other names of these modalities, with letters and digits only.
_SYNONYMS = {
    "t1n": "t1",
    "t1w": "t1",
    "t1c": "t1ce",
    "t1gd": "t1ce",
    "t1wce": "t1ce",
    "t1post": "t1ce",
    "t2w": "t2",
    "t2f": "flair",
    "t2flair": "flair",
    "pt": "pet",
    "suv": "pet",
    "suvbw": "pet",
    "petsuv": "pet",
    "fdg": "pet",
    "fdgpet": "pet",
    "petfdg": "pet",
    "cect": "ct",
    "ctce": "ct",
    "ncct": "ct",
    "mri": "mr",
}
_KINDS = {"hu": "Hounsfield units", "suv": "SUV", "percentile": "arbitrary units"}


@dataclasses.dataclass(frozen=True)
class Constants:
    """The four numbers that normalise a volume: ``(clip(x, low, high) - center) / scale``."""

    low: float
    high: float
    center: float
    scale: float

    def apply(self, volume: np.ndarray) -> np.ndarray:
        """Normalised float32 values, of the shape of `volume`."""
        normalised = np.clip(np.asarray(volume, np.float32), self.low, self.high)
        normalised -= np.float32(self.center)
        normalised /= np.float32(self.scale)
        return normalised


@dataclasses.dataclass(frozen=True)
class Normalisation:
    """How one modality is normalised.

    Attributes:
        kind: ``hu`` or ``suv``: the window [low, high] in native units becomes [-1, 1].
            ``percentile``: clipped at the `low`-th and `high`-th percentile of the voxels that are
            not 0 (0 is outside the body in skull-stripped and zero-padded MR), then a z-score over them.
    """

    kind: str
    low: float
    high: float

    @classmethod
    def parse(cls, text: str) -> Normalisation:
        """Reads ``kind:low:high``.

        Raises:
            UserError: the kind is unknown, or low is not below high.
        """
        kind, *numbers = text.strip().split(":")
        try:
            low, high = (float(number) for number in numbers)
        except ValueError:
            low = high = math.nan
        percentile_ok = kind != "percentile" or (0 <= low and high <= 100)
        if kind not in _KINDS or not -math.inf < low < high < math.inf or not percentile_ok:
            raise UserError(
                f"expected a normalisation KIND:LOW:HIGH, KIND one of {', '.join(_KINDS)}, LOW < HIGH, got '{text}'",
                remedy="For example ct=hu:-200:300,pet=suv:0:15,t2=percentile:0.5:99.5",
            )
        return cls(kind, low, high)

    def __str__(self) -> str:
        # `repr` gives the shortest text from which `parse` reads the same numbers.
        low, high = (repr(float(number)).removesuffix(".0") for number in (self.low, self.high))
        return f"{self.kind}:{low}:{high}"

    @property
    def unit(self) -> str:
        """Unit of the native values, for messages."""
        return _KINDS[self.kind]

    @property
    def fixed(self) -> Constants | None:
        """The constants for any volume; None for ``percentile``, whose constants depend on the volume."""
        if self.kind == "percentile":
            return None
        return Constants(self.low, self.high, (self.low + self.high) / 2, (self.high - self.low) / 2)

    def constants(self, volume: np.ndarray) -> Constants:
        """The constants for `volume`, of any shape, in native units."""
        if self.fixed is not None:
            return self.fixed
        body = volume[volume != 0]
        if body.size == 0:
            return Constants(0.0, 0.0, 0.0, 1.0)
        low, high = (float(p) for p in np.percentile(body, [self.low, self.high]))
        clipped = np.clip(body.astype(np.float64), low, high)
        return Constants(low, high, float(clipped.mean()), max(float(clipped.std()), 1e-6))


def canonical(name: str) -> str:
    """The usual name of a modality, e.g. ``pet`` for ``PT``. An unknown name gets lower case, and ``_`` for symbols."""
    plain = "".join(letter if letter.isalnum() else "_" for letter in name.strip().lower()).strip("_")
    return _SYNONYMS.get(plain.replace("_", ""), plain)


def usual(name: str) -> Normalisation | None:
    """The usual normalisation of a modality, in any spelling of its name; None for an unknown name."""
    text = _USUAL.get(canonical(name))
    return None if text is None else Normalisation.parse(text)


def for_modality(name: str, overrides: Mapping[str, str]) -> Normalisation:
    """The normalisation of a modality: that of `overrides`, else the usual one for its name.

    Raises:
        UserError: the override is malformed, or there is none and the name is unknown.
    """
    if name in overrides:
        return Normalisation.parse(overrides[name])
    normalisation = usual(name)
    if normalisation is None:
        raise UserError(
            f"--modalities names '{name}', which may have values in HU, in SUV or without a unit",
            remedy=f"Pass --normalisation={name}={USUAL_CT} if it is CT, {name}={USUAL_PET} if it is PET in SUV, "
            f"{name}={USUAL_MR} if it has no unit; or --plan=auto to guess",
        )
    return normalisation
