"""Cases that have files of some modalities only, and where they may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from semicml_tf.errors import UserError
from semicml_tf.files.case import CaseFiles

# The others teach networks or choose them, and every network is taught and chosen on the same patients.
ACCEPTING = ("unlabelled", "test")


def present(case: CaseFiles, modalities: Sequence[str]) -> tuple[str, ...]:
    """Those of `modalities` that the case has files of, in their order. Opens nothing."""
    return tuple(name for name in modalities if name in case.images and not case.images[name].missing())


def check(chosen: Mapping[str, Sequence[CaseFiles]], modalities: Sequence[str], *, allowed: bool) -> None:
    """Checks that every case has what its partition needs.

    Args:
        chosen: cases by partition.
        modalities: of the dataset.
        allowed: whether ``unlabelled`` and ``test`` may hold cases that lack some modality
            (`--allow_missing_modality`).

    Raises:
        UserError: one lacks a modality where it must not, or has none at all.
    """
    for partition, cases in chosen.items():
        for case in cases:
            held = present(case, modalities)
            lacking = [name for name in modalities if name not in held]
            if not lacking or (held and allowed and partition in ACCEPTING):
                continue
            source = case.images.get(lacking[0])
            remedy = "Add the file, or put the case under 'excluded' in the split"
            if held and partition in ACCEPTING:
                remedy += ", or pass --allow_missing_modality"
            elif held and allowed:
                remedy += f"; --allow_missing_modality is for {' and '.join(ACCEPTING)} alone"
            raise UserError(
                f"case {case.case_id} in '{partition}' lacks {' and '.join(lacking)}",
                path=source and source.missing(),
                remedy=remedy,
            )
