"""Classes of ``--label_rois``: regular expressions for segment and structure names, and label values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.labels import MOST_CLASSES

# Each combination of overlapping regions has a label value: 255 values for eight regions.
MOST_REGIONS = 8
_EXAMPLE = "For example --label_rois=bladder=^bladder --label_rois=rectum=^rectum"


def parse(texts: Sequence[str], *, exclusive: bool) -> dict[str, str]:
    """Parses ``NAME=REGEX`` of each class.

    Raises:
        UserError: a text is malformed, a name is repeated, or there are too many classes.
    """
    rois: dict[str, str] = {}
    for text in texts:
        name, _, expression = text.partition("=")
        if not name.isidentifier() or not expression or name in rois:
            raise UserError(f"expected --label_rois=NAME=REGEX with each class once, got '{text}'", remedy=_EXAMPLE)
        try:
            re.compile(expression)
        except re.error as error:
            raise UserError(
                f"--label_rois: '{expression}' is no regular expression ({error})", remedy="Correct it"
            ) from error
        rois[name] = expression
    most = MOST_CLASSES if exclusive else MOST_REGIONS
    if len(rois) > most:
        raise UserError(
            f"expected at most {most} classes in --label_rois, got {len(rois)}",
            remedy="If no structures overlap, pass --label_activation=softmax",
        )
    return rois


def as_labels(names: Sequence[str], *, exclusive: bool) -> list[str]:
    """The classes in the syntax of ``--labels``, with the values of `joined`."""
    if exclusive:
        return [f"{name}:{number}" for number, name in enumerate(names, start=1)]
    combinations = range(1, 1 << len(names))
    return [
        f"{name}:{'+'.join(str(value) for value in combinations if value >> number & 1)}"
        for number, name in enumerate(names)
    ]


def joined(masks: Mapping[str, np.ndarray], *, exclusive: bool) -> np.ndarray:
    """The int32 label map of all classes. Exclusive classes have the values 1, 2, ...; for regions, bit k is region k.

    Raises:
        UserError: exclusive classes share voxels.
    """
    values = np.zeros(next(iter(masks.values())).shape, np.int32)
    names = list(masks)
    for number, name in enumerate(names):
        mask = masks[name] != 0
        if not exclusive:
            values |= mask.astype(np.int32) << number
            continue
        if (shared := np.unique(values[mask])[-1:]).any():
            count = int(np.count_nonzero(values[mask]))
            raise UserError(
                f"the exclusive classes '{names[shared[0] - 1]}' and '{name}' share voxels ({count} voxels of '{name}' "
                "belong to other classes)",
                remedy="Correct the contours, or pass --label_activation=sigmoid for regions that overlap",
            )
        values[mask] = number + 1
    return values
