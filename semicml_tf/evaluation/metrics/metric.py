"""The interface of a metric."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping

from semicml_tf.evaluation.metrics.masks import MaskPair


@dataclasses.dataclass(frozen=True)
class Metric:
    """A number of one patient and one predicted mask. Its module's name is its key in metrics.json.

    Attributes:
        title: heading of its columns.
        compute: from the two masks to the value; None where the value is undefined.
        always_defined: whether `compute` never returns None.
        main: whether the metric stands in the first table. The others stand in the second table.
        at_tolerance: whether the value depends on the tolerance of surfaces, which the heading then names.
        low, high: the range of its values, for both masks of any shape.
        policy: definitions by name that go into every report, above all what the number means where a mask is empty.
            Reports stand in one table only if their definitions agree: a new definition needs new words.
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
        """The heading of a column, with the tolerance where the value depends on it."""
        return f"{self.title} at {tolerance_mm:g} mm" if self.at_tolerance else self.title
