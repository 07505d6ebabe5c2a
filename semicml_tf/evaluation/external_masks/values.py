"""The values in mask files, or the segments of DICOM-SEG objects, of each class."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.files.dicom.seg_writer import SEGMENT_LABEL
from semicml_tf.labels import LabelDefinition

_LISTED = 8


@dataclasses.dataclass(frozen=True)
class MaskValues:
    """The values of each class.

    Attributes:
        by_class: values by name of the class, for all classes of the dataset.
        given: whether the user named the values. If so, other values are background; otherwise they are refused.
    """

    by_class: Mapping[str, tuple[int, ...]]
    given: bool

    @classmethod
    def parse(cls, texts: Sequence[str], labels: LabelDefinition) -> MaskValues:
        """Parses ``--mask_values``: ``1+2`` for one class, ``NAME:1+2`` for each of several classes.

        Without texts, the value of a single class is 1, and several classes have the values of the dataset.

        Raises:
            UserError: a text is malformed, or the classes are not those of the dataset.
        """
        if not texts:
            by_class = {labels.names[0]: (1,)} if len(labels.names) == 1 else dict(labels.classes)
            return cls(by_class, False)
        if len(labels.names) == 1 and not any(":" in text for text in texts):
            texts = [f"{labels.names[0]}:{'+'.join(texts)}"]
        remedy = f"For example {_example(labels)}"
        try:
            definition = LabelDefinition.parse(texts, activation=labels.activation)
        except UserError as error:
            raise UserError(error.problem.replace("--labels", "--mask_values"), remedy=remedy) from error
        if set(definition.names) != set(labels.names):
            raise UserError(
                f"expected --mask_values of the classes {', '.join(labels.names)}, got {', '.join(definition.names)}",
                remedy=remedy,
            )
        if 0 in definition.values:
            raise UserError("expected --mask_values other than 0, which is background", remedy=remedy)
        return cls({name: definition.classes[name] for name in labels.names}, True)

    def masks(self, values: np.ndarray, path: pathlib.Path) -> tuple[dict[str, np.ndarray], tuple[int, ...]]:
        """The mask of each class in a label map.

        Args:
            values: integers of any shape.
            path: of the file, for the error.

        Returns:
            uint8 0/1 of the same shape by class, and the values other than 0 that were taken for background.

        Raises:
            UserError: a value belongs to no class, and the user did not name the values.
        """
        masks = {
            name: functools.reduce(np.logical_or, (values == value for value in class_values)).view(np.uint8)
            for name, class_values in self.by_class.items()
        }
        rest = values != 0
        for mask in masks.values():
            rest &= mask == 0
        others = tuple(np.unique(values[rest]).tolist()) if rest.any() else ()
        if others and not self.given:
            expected = ", ".join(str(value) for value in sorted({0}.union(*self.by_class.values())))
            raise UserError(
                f"expected the values {expected}, got also {_listed(others)}",
                path=path,
                remedy=f"Name the values of the target, e.g. {self._flag(others)}; other values are then background",
            )
        return masks, others

    def segments(self, names: Mapping[int, str], path: pathlib.Path) -> dict[str, list[int]]:
        """The numbers of the segments of each class.

        Named values are numbers of segments. Otherwise a single class needs a single segment, and several classes have
        the segments with their names.

        Args:
            names: labels of the segments by number.
            path: of the object, for the error.

        Raises:
            UserError: the segments do not match the classes.
        """
        if self.given:
            numbers_by_class = {
                name: [number for number in class_values if number in names]
                for name, class_values in self.by_class.items()
            }
        elif len(self.by_class) == 1:
            numbers_by_class = {name: list(names) if len(names) == 1 else [] for name in self.by_class}
        else:
            written = {SEGMENT_LABEL.format(name=name[:40]): name for name in self.by_class}
            of_label = {number: written.get(label, label) for number, label in names.items()}
            numbers_by_class = {
                name: [number for number, label in of_label.items() if label == name] for name in self.by_class
            }
            if set(of_label.values()) - set(self.by_class):
                numbers_by_class = {}
        if not any(numbers_by_class.values()):
            shown = ", ".join(f"{number} '{label}'" for number, label in list(names.items())[:_LISTED]) or "none"
            raise UserError(
                f"expected segments of {', '.join(self.by_class)}, got {shown}",
                path=path,
                remedy=f"Name the numbers of the segments, e.g. {self._flag(tuple(names) or (1,))}",
            )
        return numbers_by_class

    def _flag(self, values: Sequence[int]) -> str:
        """An example of ``--mask_values`` with values that a file has."""
        if len(self.by_class) == 1:
            return f"--mask_values={values[0]}"
        texts = (f"{name}:{values[min(place, len(values) - 1)]}" for place, name in enumerate(self.by_class))
        return f"--mask_values={','.join(texts)}"


def _example(labels: LabelDefinition) -> str:
    if len(labels.names) == 1:
        return "--mask_values=1+2"
    return f"--mask_values={','.join(f'{name}:{place}' for place, name in enumerate(labels.names, start=1))}"


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values[:_LISTED])) + (", ..." if len(values) > _LISTED else "")
