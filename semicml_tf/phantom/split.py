"""Random split of phantom cases."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from semicml_tf.errors import UserError


def draw(case_ids: list[str], seed: int, *, labelled: int, validation: int, test: int) -> dict[str, list[str]]:
    """Draws partitions of the given sizes. The other cases are unlabelled.

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
    members = {name: sorted(part) for name, part in zip(names, parts)}
    return {name: members[name] for name in ("labelled", "unlabelled", "validation", "test")}


def incomplete(unlabelled: Sequence[str], seed: int, fraction: float) -> set[str]:
    """Draws `fraction` of the unlabelled cases, which get only one modality."""
    order = np.random.default_rng([seed, 3]).permutation(len(unlabelled))
    return {unlabelled[index] for index in order[: round(fraction * len(unlabelled))]}
