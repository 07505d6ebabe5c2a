"""Which cases train: all of them, or only those that have every modality of the dataset."""

from __future__ import annotations

from collections.abc import Sequence

from semicml_tf.errors import UserError
from semicml_tf.records.dataset import CaseEntry, DatasetInfo

USE, DROP = "use", "drop"
_NAMED = 8  # cases in an error


def lacking(info: DatasetInfo, case: CaseEntry) -> list[str]:
    """The dataset's modalities that the case lacks."""
    present = info.modalities_of(case)
    return [name for name in info.modalities if name not in present]


def whole_cases(
    info: DatasetInfo, partitions: Sequence[str], modalities: Sequence[str] | None = None
) -> list[CaseEntry]:
    """The partitions' cases that have every one of `modalities` (None: those of the dataset).

    Raises:
        UserError: a partition has no case, or no case has every modality.
    """
    modalities = info.modalities if modalities is None else modalities
    cases = [case for partition in partitions for case in info.cases(partition)]
    whole = [case for case in cases if set(modalities) <= set(info.modalities_of(case))]
    if cases and not whole:
        names = ", ".join(case.case_id for case in cases[:_NAMED]) + (", ..." if len(cases) > _NAMED else "")
        raise UserError(
            f"expected a case with {' and '.join(modalities)} in {' or '.join(partitions)}, but all {len(cases)} "
            f"lack one of them ({names})",
            path=info.location,
            remedy="Convert with such cases, too, or train --method=supervised",
        )
    return whole


def training_cases(info: DatasetInfo, partitions: Sequence[str], incomplete_cases: str) -> list[CaseEntry]:
    """The partitions' cases that a training reads.

    Args:
        incomplete_cases: ``use`` or ``drop`` the cases that lack a modality.

    Raises:
        UserError: a partition has no case, or ``drop`` leaves none.
    """
    if incomplete_cases == DROP:
        return whole_cases(info, partitions)
    return [case for partition in partitions for case in info.cases(partition)]


def own_cases(
    info: DatasetInfo, partitions: Sequence[str], share: tuple[int, int], incomplete_cases: str
) -> dict[int, CaseEntry]:
    """The `training_cases` by their number, without those in shards that other workers read.

    Args:
        share: of the shards: number of this worker, and of how many.

    Raises:
        UserError: there are fewer shards than workers.
    """
    number, count = share
    cases = training_cases(info, partitions, incomplete_cases)
    shards = list(dict.fromkeys(case.shard for case in cases))
    if len(shards) < count:
        raise UserError(
            f"expected a shard of {' or '.join(partitions)} for each of the {count} workers, got {len(shards)} shards",
            path=info.location,
            remedy="Convert with a smaller --cases_per_shard, or pass --worker_data=same",
        )
    mine = set(shards[number::count])
    return {index: case for index, case in enumerate(cases) if case.shard in mine}
