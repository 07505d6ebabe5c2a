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
