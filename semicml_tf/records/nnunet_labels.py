"""Codes of a target as the label values of nnU-Net v2, which are consecutive and mean one set of regions each."""

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
    """How the codes of a `LabelDefinition` are numbered.

    Attributes:
        definition: the target.
        codes: in ascending order, the codes that have a value; the position of a code is its value. The first is 0.
    """

    definition: LabelDefinition
    codes: np.ndarray

    @classmethod
    def of(cls, definition: LabelDefinition, codes: np.ndarray | None = None) -> NnunetLabels:
        """The numbering of a target.

        Args:
            definition: the target.
            codes: the codes in all label maps; None = those of the definition's values. Where several regions were
                drawn one by one, the label maps can have other combinations of them.

        Raises:
            UserError: nnU-Net cannot hold the target in one label map.
        """
        if names := [name for name in definition.names if name in _RESERVED]:
            raise UserError(
                f"the class '{names[0]}' has a name with a meaning of its own in nnU-Net",
                remedy="Convert the data again with another name in --labels",
            )
        known = definition.encode(np.array(definition.values)) if codes is None else codes
        ignored = () if definition.ignored_code is None else (definition.ignored_code,)
        found = cls(definition, np.array(sorted({0, *known.ravel().tolist(), *ignored})))
        values = {name: set(found.values(name)) for name in definition.names}
        if empty := [name for name, own in values.items() if not own]:
            raise UserError(f"no exported label has a voxel of '{empty[0]}'", remedy="Choose other --modalities")
        for one, other in itertools.combinations(definition.names, 2):
            shared = values[one] & values[other]
            if shared and shared not in (values[one], values[other]):
                raise UserError(
                    f"the regions '{one}' and '{other}' overlap, and neither contains the other: a mask of nnU-Net "
                    "cannot hold them",
                    remedy="Convert the data again with one of them in --labels",
                )
        return found

    def values(self, name: str) -> list[int]:
        """The label values that belong to a class or region."""
        return np.flatnonzero(self.definition.mask(self.codes, name)).tolist()

    def encode(self, codes: np.ndarray) -> np.ndarray:
        """A label map of nnU-Net, uint8 or uint16; `codes` has only codes that are numbered."""
        return np.searchsorted(self.codes, codes).astype(np.uint8 if len(self.codes) <= 256 else np.uint16)

    @property
    def mask_values(self) -> str:
        """The classes of nnU-Net's masks in the syntax of ``--labels``."""
        return ",".join(f"{name}:{'+'.join(map(str, self.values(name)))}" for name in self.definition.names)

    def to_json(self) -> dict[str, Any]:
        """``labels`` of dataset.json and, where regions contain others, ``regions_class_order``.

        nnU-Net writes its regions into one map in this order, and later ones replace earlier ones. Hence a region
        comes after those that contain it, and is written as the value with the fewest further regions.
        """
        names = sorted(self.definition.names, key=lambda name: -len(self.values(name)))
        values = {name: self.values(name) for name in names}
        labels = {name: own[0] if len(own) == 1 else own for name, own in values.items()}
        order = [min(own, key=lambda value: (int(self.codes[value]).bit_count(), value)) for own in values.values()]
        nested = any(len(own) > 1 for own in values.values())
        ignored = {} if self.definition.ignored_code is None else {"ignore": len(self.codes) - 1}
        return {
            "labels": {"background": 0, **labels, **ignored},
            **({"regions_class_order": order} if nested else {}),
        }
