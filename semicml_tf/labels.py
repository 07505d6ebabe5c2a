"""The target of segmentation: ordered classes or regions, their values in label maps, and the ignored value.

Conversion, losses, scores, export and the report use this type. It imports neither TensorFlow nor Keras.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from semicml_tf.errors import UserError

SIGMOID, SOFTMAX = "sigmoid", "softmax"
ACTIVATIONS = (SIGMOID, SOFTMAX)
# Name of the region of --label_values.
LESION = "lesion"
MOST_CLASSES = 255
# Each region and the ignored value take one bit of a code. Codes have 8, 16 or 32 bits.
MOST_REGIONS = 30
_MOST_VALUES = 1000
_HIGHEST_VALUE = 2**31 - 1
_REMEDY = "For example --labels=wt:1+2+4,tc:1+4,et:4, or --labels=liver:1,kidney:2+3 --label_activation=softmax"


@dataclasses.dataclass(frozen=True)
class LabelDefinition:
    """The target of a dataset, a run or a model.

    Arrays of labels contain *codes*. For regions (``sigmoid``), bit k of a code is region k, so that regions may
    overlap. For exclusive classes (``softmax``), the code is the number of the class, from 1. Background is 0.

    Attributes:
        classes: values in a label map by name of the class or region, in the order of channels.
        activation: ``sigmoid`` for regions, which may overlap; ``softmax`` for exclusive classes.
        ignore_value: value in a label map of voxels without annotation; None without such a value.

    Raises:
        ValueError: a name or a value is not allowed, or exclusive classes share a value.
    """

    classes: Mapping[str, tuple[int, ...]]
    activation: str = SIGMOID
    ignore_value: int | None = None

    def __post_init__(self):
        classes = {name: tuple(sorted(set(values))) for name, values in self.classes.items()}
        object.__setattr__(self, "classes", classes)  # the dataclass is frozen
        if problem := next(self._problems(), None):
            raise ValueError(problem)

    def _problems(self) -> Iterator[str]:
        if self.activation not in ACTIVATIONS:
            yield f"expected a label activation among {', '.join(ACTIVATIONS)}, got {self.activation!r}"
        most = MOST_CLASSES - (self.ignore_value is not None) if self.exclusive else MOST_REGIONS
        if not 1 <= len(self.classes) <= most:
            kind = "exclusive classes" if self.exclusive else "regions"
            yield f"expected 1 to {most} {kind}, got {len(self.classes)}"
        for name, values in self.classes.items():
            if not (name.isidentifier() and name.isascii() and len(name) <= 64):
                yield f"expected names of classes of letters, digits and _, got {name!r}"
            if not values or len(values) > _MOST_VALUES:
                yield f"expected 1 to {_MOST_VALUES} values of the class {name!r}, got {len(values)}"
            if not all(-_HIGHEST_VALUE <= value <= _HIGHEST_VALUE for value in values):
                yield f"expected values of 32 bits of the class {name!r}, got {values}"
            if self.ignore_value in values:
                yield f"the class {name!r} has the ignored value {self.ignore_value}"
        if self.exclusive:
            owners: dict[int, str] = {}
            for name, values in self.classes.items():
                for value in values:
                    if owners.setdefault(value, name) != name:
                        yield f"the exclusive classes {owners[value]!r} and {name!r} share the value {value}"

    @classmethod
    def plain(cls, values: Sequence[int] = (1,)) -> LabelDefinition:
        """A target of one region with the given values."""
        return cls({LESION: tuple(values)})

    @classmethod
    def parse(cls, texts: Sequence[str], *, activation: str = SIGMOID, ignore_value: int | None = None):
        """Parses ``NAME:VALUE+VALUE`` of each class.

        Raises:
            UserError: a text is malformed, a name is repeated, or the classes contradict each other.
        """
        classes: dict[str, tuple[int, ...]] = {}
        for text in texts:
            name, colon, numbers = text.partition(":")
            name = name.strip()
            if not colon or name in classes:
                raise UserError(
                    f"expected --labels=NAME:VALUE+VALUE,... with each name once, got '{text}'", remedy=_REMEDY
                )
            try:
                classes[name] = tuple(int(number) for number in numbers.split("+"))
            except ValueError as error:
                raise UserError(
                    f"expected whole numbers as values of --labels, got '{text}'", remedy=_REMEDY
                ) from error
        try:
            return cls(classes, activation, ignore_value)
        except ValueError as error:
            raise UserError(f"--labels: {error}", remedy=_REMEDY) from error

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of channels."""
        return tuple(self.classes)

    @property
    def exclusive(self) -> bool:
        """Whether a voxel has one class at most."""
        return self.activation == SOFTMAX

    @property
    def is_plain(self) -> bool:
        """Whether the target is the single region of ``--label_values``, without an ignored value."""
        return self.names == (LESION,) and not self.exclusive and self.ignore_value is None

    @property
    def values(self) -> tuple[int, ...]:
        """All values that belong to a class, in order."""
        return tuple(sorted({value for values in self.classes.values() for value in values}))

    @property
    def ignored_code(self) -> int | None:
        """Code of ignored voxels; None if no voxel is ignored."""
        if self.ignore_value is None:
            return None
        return MOST_CLASSES if self.exclusive else 1 << len(self.classes)

    @property
    def dtype(self) -> str:
        """Smallest type for codes: uint8, uint16 or int32, little-endian."""
        if self.exclusive:
            return "<u1"
        bits = len(self.classes) + (self.ignore_value is not None)
        return "<u1" if bits <= 8 else "<u2" if bits <= 16 else "<i4"

    def __str__(self) -> str:
        """The target in the format of ``--labels``."""
        return ",".join(f"{name}:{'+'.join(map(str, values))}" for name, values in self.classes.items())

    def described(self) -> str:
        """A description of the target for notes and messages."""
        kind = "exclusive classes" if self.exclusive else "one region" if len(self.classes) == 1 else "regions"
        ignored = "" if self.ignore_value is None else f"; {self.ignore_value} is ignored"
        return f"{self} ({kind}{ignored})"

    # Codes.

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Codes of a label map. Values of no class become background, so check the values first.

        Args:
            values: of any shape, integers.

        Returns:
            The same shape, of `dtype`.
        """
        codes = np.zeros(values.shape, self.dtype)
        # One comparison per value. `np.isin` would sort a whole volume for two or three values.
        for number, class_values in enumerate(self.classes.values()):
            mask = functools.reduce(np.logical_or, (values == value for value in class_values))
            if self.exclusive:
                codes[mask] = number + 1
            else:
                codes |= mask.astype(self.dtype) << np.dtype(self.dtype).type(number)
        if self.ignore_value is not None:
            codes[values == self.ignore_value] = self.ignored_code
        return codes

    def join(self, masks: np.ndarray, ignored: np.ndarray | None = None) -> np.ndarray:
        """Codes of the masks of all classes. If exclusive classes overlap, the first class counts.

        Args:
            masks: (classes, ...), 0/1.
            ignored: (...) of bool, voxels without annotation.
        """
        codes = np.zeros(masks.shape[1:], self.dtype)
        for number in reversed(range(len(self.classes))):
            if self.exclusive:
                codes[masks[number] > 0] = number + 1
            else:
                codes |= masks[number].astype(self.dtype) << np.dtype(self.dtype).type(number)
        if ignored is not None and self.ignored_code is not None:
            codes[ignored] = self.ignored_code
        return codes

    def mask(self, codes: np.ndarray, name: str) -> np.ndarray:
        """The mask of a class or region, uint8 0/1; 0 in voxels without annotation."""
        number = self.names.index(name)
        if self.exclusive:
            return (codes == number + 1).view(np.uint8)
        if self.is_plain and codes.dtype == np.uint8:
            return codes
        return (codes >> np.array(number, codes.dtype) & np.array(1, codes.dtype)).astype(np.uint8)

    def masks(self, codes: np.ndarray) -> np.ndarray:
        """The masks of all classes, (classes, ...) uint8 0/1; see `mask`."""
        return np.stack([self.mask(codes, name) for name in self.names])

    def any(self, codes: np.ndarray) -> np.ndarray:
        """bool mask of the voxels of any class or region."""
        return codes != 0 if self.ignored_code is None else (codes != 0) & (codes != self.ignored_code)

    def ignored(self, codes: np.ndarray) -> np.ndarray | None:
        """bool mask of the voxels without annotation; None without an ignored value."""
        return None if self.ignored_code is None else codes == self.ignored_code

    def is_valid(self, codes: np.ndarray) -> bool:
        """Whether all codes in an array belong to this definition."""
        if codes.size == 0:
            return True
        if self.exclusive:
            known = codes <= len(self.classes)
        else:
            known = (codes >= 0) & (codes < 1 << len(self.classes))
        if known.all():
            return True
        return self.ignored_code is not None and bool((known | (codes == self.ignored_code)).all())

    # Files.

    def to_json(self) -> dict[str, Any]:
        """JSON values; `labels_file.LabelFile` reads them."""
        return {
            "classes": {name: list(values) for name, values in self.classes.items()},
            "activation": self.activation,
            "ignore_value": self.ignore_value,
        }


# The target of data and files without named classes.
PLAIN = LabelDefinition.plain()
