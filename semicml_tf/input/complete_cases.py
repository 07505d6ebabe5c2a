"""Who may teach: cases that hold every modality of the dataset."""

from __future__ import annotations

from collections.abc import Sequence

from semicml_tf.errors import UserError
from semicml_tf.records.dataset import CaseEntry, DatasetInfo


def _lacking(info: DatasetInfo, case: CaseEntry) -> list[str]:
    held = info.modalities_of(case)
    return [name for name in info.modalities if name not in held]


def whole_cases(info: DatasetInfo, partitions: Sequence[str]) -> tuple[list[CaseEntry], list[CaseEntry]]:
    """The partitions' cases that hold every modality, and those that do not.

    Every method that learns from unlabelled cases compares modalities, so that the latter are of no use to it.

    Raises:
        UserError: a partition holds no case, or none with every modality is left.
    """
    cases = [case for partition in partitions for case in info.cases(partition)]
    whole = [case for case in cases if not _lacking(info, case)]
    if cases and not whole:
        raise UserError(
            f"expected a case with {' and '.join(info.modalities)} in {' or '.join(partitions)}, but all {len(cases)} "
            "lack one of them",
            path=info.location,
            remedy="Convert with such cases, too, or train --method=supervised",
        )
    return whole, [case for case in cases if _lacking(info, case)]


def own_cases(info: DatasetInfo, partitions: Sequence[str], share: tuple[int, int]) -> dict[int, CaseEntry]:
    """The partitions' whole cases by their number, without those in shards that other workers read.

    Args:
        share: of the shards: number of this worker, and of how many.

    Raises:
        UserError: there are fewer shards than workers.
    """
    number, count = share
    cases = whole_cases(info, partitions)[0]
    shards = list(dict.fromkeys(case.shard for case in cases))
    if len(shards) < count:
        raise UserError(
            f"expected a shard of {' or '.join(partitions)} for each of the {count} workers, got {len(shards)} shards",
            path=info.location,
            remedy="Convert with a smaller --cases_per_shard, or pass --worker_data=same",
        )
    mine = set(shards[number::count])
    return {index: case for index, case in enumerate(cases) if case.shard in mine}


def require_whole(info: DatasetInfo, partitions: Sequence[str]) -> None:
    """Checks partitions on which every network is taught or chosen.

    Raises:
        UserError: a case lacks a modality.
    """
    for partition in partitions:
        for case in info.cases(partition):
            if _lacking(info, case):
                raise UserError(
                    f"case {case.case_id} in '{partition}' lacks {' and '.join(_lacking(info, case))}",
                    path=info.location,
                    remedy="Only 'unlabelled' and 'test' may hold such cases: correct the split and convert again",
                )
