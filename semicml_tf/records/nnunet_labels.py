"""Maps the codes of a target to the label values of nnU-Net v2: consecutive, each for one set of regions."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.labels import LabelDefinition

_RESERVED = ("background", "ignore")


@dataclasses.dataclass(frozen=True, eq=False)
class NnunetLabels:
    """The label value of each code of a `LabelDefinition`.

    Attributes:
        definition: the target.
        codes: the codes that have a value, in ascending order. The value is the position in this array. The first is 0.
    """

    definition: LabelDefinition
    codes: np.ndarray

    @classmethod
    def of(cls, definition: LabelDefinition, codes: np.ndarray | None = None) -> NnunetLabels:
        """The label values of a target.

        Args:
            definition: the target.
            codes: the codes in all label maps; None = those of the definition's values. If regions were drawn
                separately, the label maps can have other combinations of them.

        Raises:
            UserError: one label map of nnU-Net cannot represent the target.
        """
        if names := [name for name in definition.names if name in _RESERVED]:
            raise UserError(
                f"the class '{names[0]}' has a name with a meaning of its own in nnU-Net",
                remedy="Convert the data again with another name in --labels",
            )
        known = definition.encode(np.array(definition.values)) if codes is None else codes
        ignored = () if definition.ignored_code is None else (definition.ignored_code,)
        numbered = cls(definition, np.array(sorted({0, *known.ravel().tolist(), *ignored})))
        values = {name: set(numbered.values(name)) for name in definition.names}
        if empty := [name for name, of_class in values.items() if not of_class]:
            raise UserError(f"no exported label has a voxel of '{empty[0]}'", remedy="Choose other --modalities")
        for first, second in itertools.combinations(definition.names, 2):
            shared = values[first] & values[second]
            if shared and shared not in (values[first], values[second]):
                raise UserError(
                    f"the regions '{first}' and '{second}' overlap, and neither contains the other: a mask of nnU-Net "
                    "cannot represent them",
                    remedy="Convert the data again with one of them in --labels",
                )
        return numbered

    def values(self, name: str) -> list[int]:
        """The label values that belong to a class or region."""
        return np.flatnonzero(self.definition.mask(self.codes, name)).tolist()

    def encode(self, codes: np.ndarray) -> np.ndarray:
        """The label map of nnU-Net, uint8 or uint16. All of `codes` must be in `self.codes`."""
        return np.searchsorted(self.codes, codes).astype(np.uint8 if len(self.codes) <= 256 else np.uint16)

    @property
    def mask_values(self) -> str:
        """The classes of nnU-Net's masks in the syntax of ``--labels``."""
        return ",".join(f"{name}:{'+'.join(map(str, self.values(name)))}" for name in self.definition.names)

    def to_json(self) -> dict[str, Any]:
        """``labels`` of dataset.json and, if regions contain others, ``regions_class_order``.

        nnU-Net writes its regions into one map in this order, and later regions replace earlier ones. Hence a region
        comes after those that contain it. Its value in the map is the one with the fewest other regions.
        """
        names = sorted(self.definition.names, key=lambda name: -len(self.values(name)))
        values = {name: self.values(name) for name in names}
        labels = {name: of_class[0] if len(of_class) == 1 else of_class for name, of_class in values.items()}
        order = [
            min(of_class, key=lambda value: (int(self.codes[value]).bit_count(), value)) for of_class in values.values()
        ]
        nested = any(len(of_class) > 1 for of_class in values.values())
        ignored = {} if self.definition.ignored_code is None else {"ignore": len(self.codes) - 1}
        return {
            "labels": {"background": 0, **labels, **ignored},
            **({"regions_class_order": order} if nested else {}),
        }
