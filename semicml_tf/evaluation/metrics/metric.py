"""The interface of a metric."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping

from semicml_tf.evaluation.metrics.masks import MaskPair


@dataclasses.dataclass(frozen=True)
class Metric:
    """A number computed from one patient's truth and a predicted mask. The module's name is the key in metrics.json.

    Attributes:
        title: heading of its columns.
        compute: returns the value for two masks; None if the value is undefined.
        always_defined: whether `compute` never returns None.
        main: whether the metric stands in the first table. The others stand in the second table.
        at_tolerance: whether the value depends on the surface tolerance. The heading then names the tolerance.
        low, high: range of the values.
        policy: definitions by name that go into every report, above all the value for empty masks. Reports can be
            compared only if these texts are equal, so a changed definition needs a changed text.
    """

    title: str
    compute: Callable[[MaskPair], float | None]
    always_defined: bool = True
    main: bool = False
    at_tolerance: bool = False
    low: float = 0.0
    high: float = math.inf
    policy: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def heading(self, tolerance_mm: float) -> str:
        """The heading of a column, with the tolerance if the value depends on it."""
        return f"{self.title} at {tolerance_mm:g} mm" if self.at_tolerance else self.title
