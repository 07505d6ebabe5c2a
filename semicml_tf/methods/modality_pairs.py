"""The mean of a mutual term over all pairs of modalities."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import keras


def mean_over_pairs(modalities: Sequence[str], term: Callable[[str, str], Any]) -> Any:
    """Mean of ``term(one, other)`` over all unordered pairs of modalities, in the order of `modalities`.

    With two modalities the result is ``term(one, other)`` itself, without a further operation.

    Args:
        modalities: at least two names.
        term: value of a pair: a tensor, or a dictionary of tensors.

    Returns:
        The structure of a value of `term`.
    """
    values = [term(one, other) for one, other in itertools.combinations(modalities, 2)]
    if len(values) == 1:
        return values[0]
    return keras.tree.map_structure(lambda *of_pairs: sum(of_pairs) / len(of_pairs), *values)
