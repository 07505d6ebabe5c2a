"""Reads labels of the run's unlabelled patients from another dataset of the same patients."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.records.case_record import LABELLED_PARTITIONS, CaseRecord
from semicml_tf.records.dataset import CaseEntry, DatasetInfo
from semicml_tf.records.shards import check_shards, read_cases

_REMEDY = "Convert the same volumes with the same settings and all patients labelled, and pass that folder as --truth"
# In normalised units; float16 has three digits.
_SAME_IMAGE = 0.01


def find(own: DatasetInfo, truth: DatasetInfo, cases: Sequence[CaseEntry]) -> list[CaseEntry]:
    """The labelled entries of `truth` for `cases` of `own`, in the same order. Cases are matched by case id only.

    Raises:
        UserError: the datasets differ in modalities, spacing or normalisation, or a case has no label in `truth`.
    """
    for what, expected, received in (
        ("modalities", sorted(own.modalities), sorted(truth.modalities)),
        ("spacing_mm", own.spacing_mm, truth.spacing_mm),
        ("normalisation", _texts(own), _texts(truth)),
        ("classes", str(own.labels), str(truth.labels)),
    ):
        if expected != received:
            raise UserError(
                f"expected the {what} of the run's dataset, {_plain(expected)}, got {_plain(received)}",
                path=truth.location,
                remedy=_REMEDY,
            )
    labelled = {case.case_id: case for name in LABELLED_PARTITIONS for case in truth.partitions.get(name, ())}
    missing = [case.case_id for case in cases if case.case_id not in labelled]
    if missing:
        raise UserError(
            f"expected labels of the run's {len(cases)} unlabelled patients, but {len(missing)} have none here "
            f"({', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''})",
            path=truth.location,
            remedy=_REMEDY,
        )
    return [labelled[case.case_id] for case in cases]


def checked(own: DatasetInfo, truth: DatasetInfo, cases: Sequence[CaseEntry]) -> list[CaseEntry]:
    """Like `find`, and also compares the shards of both datasets with their hashes.

    Raises:
        UserError: as `find`; a shard is missing or damaged.
    """
    entries = find(own, truth, cases)
    wanted = {case.case_id for case in entries}
    check_shards(own, ["unlabelled"])
    check_shards(
        truth,
        [name for name in LABELLED_PARTITIONS if wanted & {case.case_id for case in truth.partitions.get(name, ())}],
    )
    return entries


def _texts(info: DatasetInfo) -> dict[str, str]:
    return {name: str(normalisation) for name, normalisation in sorted(info.normalisation.items())}


def _plain(value) -> str:
    return ", ".join(map(str, value.items() if isinstance(value, dict) else value))


def read(
    own: DatasetInfo, truth: DatasetInfo, cases: Sequence[CaseEntry], entries: Sequence[CaseEntry]
) -> Iterator[CaseRecord]:
    """Yields the records of `cases` with their hidden labels.

    Raises:
        UserError: a record of `truth` has other images or another grid than the record of `own`.
    """
    for record, labelled in zip(read_cases(own, cases), read_cases(truth, entries)):
        same = (
            record.grid.shape == labelled.grid.shape
            and np.allclose(record.grid.affine, labelled.grid.affine, atol=1e-3)
            and set(record.images) == set(labelled.images)
            and all(
                np.allclose(image.astype(np.float32), labelled.images[name].astype(np.float32), atol=_SAME_IMAGE)
                for name, image in record.images.items()
            )
        )
        if not same:
            raise UserError(
                f"case {record.case_id} differs from the run's dataset in its grid or its images",
                path=truth.location,
                remedy=_REMEDY,
            )
        hidden = {name: getattr(labelled, name) for name in ("label", "native_label", "native_grid")}
        yield dataclasses.replace(record, **hidden)
