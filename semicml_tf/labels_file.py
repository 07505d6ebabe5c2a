"""Reads a `LabelDefinition` in JSON as hostile: sizes, types, then what the definition itself refuses."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated, Any, Literal

from annotated_types import Interval, MaxLen, MinLen

from semicml_tf.labels import MOST_CLASSES, LabelDefinition
from semicml_tf.system import json_files

# 255 classes of a thousand values each have fewer.
MAX_BYTES = 2**22
_Value = Annotated[int, Interval(ge=-(2**31), le=2**31 - 1)]


@dataclasses.dataclass(frozen=True)
class LabelFile:
    """The JSON values of a definition; a field of this type in other schemas checks them.

    Raises:
        ValueError: the classes contradict each other.
    """

    classes: Annotated[dict[str, Annotated[tuple[_Value, ...], MaxLen(1000)]], MinLen(1), MaxLen(MOST_CLASSES)]
    activation: Literal["sigmoid", "softmax"] = "sigmoid"
    ignore_value: _Value | None = None

    def __post_init__(self):
        self.definition()

    def definition(self) -> LabelDefinition:
        """The definition that the values describe."""
        return LabelDefinition(self.classes, self.activation, self.ignore_value)


def text(labels: LabelDefinition) -> str:
    """Compact JSON; the same definition gives the same text. The order of classes is kept."""
    return json.dumps(labels.to_json(), separators=(",", ":"))


def parse(content: str | bytes) -> LabelDefinition:
    """Reads what `text` made.

    Raises:
        UserError: the content is no such JSON.
    """
    return json_files.parse(content, LabelFile, what="the labels of a dataset", max_bytes=MAX_BYTES).definition()


def of_value(body: Any, *, what: str, path: Any = None, remedy: str | None = None) -> LabelDefinition:
    """A definition from parsed JSON.

    Raises:
        UserError: the values are no definition.
    """
    return json_files.of_value(body, LabelFile, what=what, path=path, remedy=remedy).definition()
