"""Intensities of a volume in native units to the numbers a network reads, by modality name."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from semicml_tf.errors import UserError

# What a modality gets when the user names no normalisation. HU window: soft tissue with margins;
# SUV: FDG above 15 saturates; MR has no unit, so its scale comes from the volume itself.
_DEFAULTS = {"ct": "hu:-200:300", "pet": "suv:0:15"}
_DEFAULT_MR = "percentile:0.5:99.5"
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
        found = np.clip(np.asarray(volume, np.float32), self.low, self.high)
        found -= np.float32(self.center)
        found /= np.float32(self.scale)
        return found


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
            UserError: it is none of the kinds, or low is not below high.
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
        # The shortest text that gives these very numbers back.
        low, high = (repr(float(number)).removesuffix(".0") for number in (self.low, self.high))
        return f"{self.kind}:{low}:{high}"

    @property
    def unit(self) -> str:
        """Unit of the native values, for messages."""
        return _KINDS[self.kind]

    @property
    def fixed(self) -> Constants | None:
        """The numbers that normalise any volume; None for ``percentile``, where they are each volume's own."""
        if self.kind == "percentile":
            return None
        return Constants(self.low, self.high, (self.low + self.high) / 2, (self.high - self.low) / 2)

    def constants(self, volume: np.ndarray) -> Constants:
        """The numbers that normalise `volume`, of any shape, in native units."""
        if self.fixed is not None:
            return self.fixed
        body = volume[volume != 0]
        if body.size == 0:
            return Constants(0.0, 0.0, 0.0, 1.0)
        low, high = (float(p) for p in np.percentile(body, [self.low, self.high]))
        clipped = np.clip(body.astype(np.float64), low, high)
        return Constants(low, high, float(clipped.mean()), max(float(clipped.std()), 1e-6))


def for_modality(name: str, overrides: dict[str, str]) -> Normalisation:
    """The normalisation of the named modality: the user's, else the usual one for that name."""
    return Normalisation.parse(overrides.get(name) or _DEFAULTS.get(name, _DEFAULT_MR))
