"""Describes the content of a folder: a summary in one sentence, and the files that belong to no case."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable, Sequence

from semicml_tf.files.case import CaseFiles


@dataclasses.dataclass(frozen=True)
class Oddity:
    """A problem of a folder that is not about one of its cases.

    Attributes:
        code: code of the finding; see `conversion.verification.findings`.
        path: the file.
        problem: what was expected and what was received, without names of cases.
        remedy: what to do.
    """

    code: str
    path: pathlib.Path
    problem: str
    remedy: str


def unclaimed(cases: Iterable[CaseFiles], files: Iterable[pathlib.Path], description: str) -> list[Oddity]:
    """Reports the files that belong to no case, such as a label whose images are misnamed.

    Args:
        cases: all cases of the layout, with all modalities.
        files: the image and label files in the layout's folders.
        description: how the layout names files.
    """
    claimed: set[pathlib.Path] = set()
    for case in cases:
        sources = (*case.images.values(), case.label, case.label_on)
        claimed.update(source.path for source in sources if source is not None)
    return [
        Oddity(
            "unclaimed_file",
            path,
            "no case claims this file: its name is not one of the layout's, or it is a label without images",
            f"Rename or convert it, or move it out of this folder. The layout is {description}",
        )
        for path in files
        if path not in claimed
    ]


def describe(title: str, cases: Sequence[CaseFiles]) -> str:
    """For example ``BraTS 2021: 3 cases of 3 patients; t1 3, t2 2 (1 missing); labels 3``.

    Args:
        title: the layout with its version.
        cases: all cases, with all modalities. Whether their files exist is checked; none is opened.
    """
    names = list(dict.fromkeys(name for case in cases for name in case.images))
    patients = len({case.patient for case in cases})
    counts = []
    for name in names:
        count = sum(bool(case.present((name,))) for case in cases)
        counts.append(f"{name} {count}" + (f" ({len(cases) - count} missing)" if count < len(cases) else ""))
    labels = sum(case.has_label() for case in cases)
    whose = f" of {patients} patients" if patients < len(cases) else ""
    number = f"{len(cases)} case{'s' if len(cases) != 1 else ''}{whose}"
    return f"{title}: {number}; {', '.join(counts) or 'no images'}; labels {labels}"
