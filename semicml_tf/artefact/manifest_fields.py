"""The fields of `manifest.json` as JSON values: types, sizes and ranges of both versions."""

from __future__ import annotations

import dataclasses
import math
import operator
from typing import Annotated, Any, Literal

from annotated_types import Interval, MaxLen, MinLen

from semicml_tf.geometry.patch import MAX_CONTEXT_SLICES, Patch, Window, spatial_of
from semicml_tf.labels import MOST_CLASSES
from semicml_tf.labels_file import LabelFile
from semicml_tf.networks.spec import MAX_VALUES, MAX_WINDOW, NetworkSpec
from semicml_tf.preprocessing.plausibility import Plausibility
from semicml_tf.system.json_files import Share

SPACING_LIMITS_MM = (0.01, 1000.0)
# float16 halves the size of responses. Clients convert both to float32.
PROBABILITIES_DTYPES = ("float32", "float16")
# Largest number of networks in an ensemble.
MOST_MEMBERS = 1000
# float32 represents 1e-6, and smaller probabilities of a network are not meaningful.
_Threshold = Annotated[float, Interval(ge=1e-6, le=1)]
_Steps = Annotated[str, MaxLen(200)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Fields:
    """The fields that both versions have."""

    modality: Annotated[str, MinLen(1), MaxLen(64)]
    spacing_mm: tuple[float, float, float]
    normalisation: Annotated[str, MaxLen(200)]
    window: Window
    data_hash: Annotated[str, MaxLen(128)]
    run_hash: Annotated[str, MaxLen(128)]
    validation_dice: Share | None
    semicml_tf_version: Annotated[str, MaxLen(64)]
    crop: Literal["none", "body"]
    probabilities_dtype: Literal["float32", "float16"]
    monte_carlo: bool
    validation_scores: Annotated[dict[str, float], MaxLen(1000)]
    weights_hash: Annotated[str, MaxLen(128)] = ""
    plausibility: dict[str, Any] | None = None
    window_multiple: Window = 1
    network: NetworkSpec | None = None
    members: Annotated[int, Interval(ge=1, le=MOST_MEMBERS)] = 1
    context_slices: Annotated[int, Interval(ge=0, le=MAX_CONTEXT_SLICES)] = 0

    def __post_init__(self):
        if not self.modality.isidentifier():
            raise ValueError(f"modality: expected a name of letters, digits and _, got {ascii(self.modality)}")
        least, most = SPACING_LIMITS_MM
        if not all(size == 0 or least <= size <= most for size in self.spacing_mm):
            raise ValueError(f"spacing_mm: expected 0 or {least:g} to {most:g} mm, got {list(self.spacing_mm)}")
        for name in ("window", "window_multiple"):
            if not all(1 <= size <= MAX_WINDOW for size in spatial_of(getattr(self, name))):
                raise ValueError(f"{name}: expected numbers from 1 to {MAX_WINDOW}, got {getattr(self, name)}")
        multiples = self.window_multiple
        if isinstance(multiples, int):
            multiples = (multiples,) * len(spatial_of(self.window))
        if len(multiples) != len(spatial_of(self.window)) or any(map(operator.mod, spatial_of(self.window), multiples)):
            raise ValueError(f"window: expected a multiple of {self.window_multiple}, got {self.window}")
        spec = self.network
        if spec is not None and (spec.window, spec.window_multiple) != (self.window, self.window_multiple):
            raise ValueError("network: its window is not that of the manifest")
        patch = Patch(self.window, self.context_slices)
        if math.prod(patch.shape) > MAX_VALUES:
            raise ValueError(f"expected an input of at most {MAX_VALUES} values, got {math.prod(patch.shape)}")
        if spec is not None and spec.input_channels != patch.channels:
            raise ValueError(f"network: its input does not have {self.context_slices} context_slices on each side")
        texts = [value for value in vars(self).values() if isinstance(value, str)] + list(self.validation_scores)
        if not all(text.isprintable() for text in texts):
            raise ValueError("a text has control characters")
        if not all(map(math.isfinite, self.validation_scores.values())):
            raise ValueError("validation_scores: expected finite numbers")
        try:
            if self.plausibility is not None:
                Plausibility.from_json(self.plausibility)
        except (TypeError, OverflowError) as error:
            raise ValueError(f"plausibility: {error}") from error


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fields2(_Fields):
    """Version 2: one plain region."""

    label_values: Annotated[tuple[int, ...], MaxLen(1000)]
    threshold: _Threshold
    postprocessing: _Steps


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fields3(_Fields):
    """Version 3: any classes or regions."""

    labels: LabelFile
    thresholds: Annotated[dict[str, _Threshold], MaxLen(MOST_CLASSES)]
    postprocessing: _Steps | Annotated[dict[str, _Steps], MaxLen(MOST_CLASSES)]
