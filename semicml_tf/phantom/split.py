"""Which phantom case serves what: a draw by seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from semicml_tf.errors import UserError


def draw(case_ids: list[str], seed: int, *, labelled: int, validation: int, test: int) -> dict[str, list[str]]:
    """Partitions of the given sizes; the rest is unlabelled.

    Raises:
        UserError: there are fewer cases than the partitions need.
    """
    needed = labelled + validation + test
    if needed > len(case_ids):
        raise UserError(
            f"expected at least {needed} cases for {labelled} labelled, {validation} validation and {test} test, "
            f"got {len(case_ids)}",
            remedy="Raise --cases or lower --labelled, --validation, --test",
        )
    order = [case_ids[i] for i in np.random.default_rng([seed, 2]).permutation(len(case_ids))]
    ends = np.cumsum([labelled, validation, test])
    parts = np.split(np.array(order, dtype=object), ends)
    names = ("labelled", "validation", "test", "unlabelled")
    found = {name: sorted(part) for name, part in zip(names, parts)}
    return {name: found[name] for name in ("labelled", "unlabelled", "validation", "test")}


def incomplete(unlabelled: Sequence[str], seed: int, fraction: float) -> set[str]:
    """The unlabelled cases that have only the first modality: `fraction` of them."""
    order = np.random.default_rng([seed, 3]).permutation(len(unlabelled))
    return {unlabelled[index] for index in order[: round(fraction * len(unlabelled))]}
