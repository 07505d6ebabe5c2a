"""What a layout found in a folder, in one sentence for people."""

from __future__ import annotations

from collections.abc import Sequence

from semicml_tf.files.case import CaseFiles


def tell(title: str, cases: Sequence[CaseFiles]) -> str:
    """For example ``BraTS 2021: 3 cases of 3 patients; t1 3, t2 2 (1 missing); labels 3``.

    Args:
        title: the layout with its version.
        cases: with every modality that there is; their files are looked for, and none is opened.
    """
    names = list(dict.fromkeys(name for case in cases for name in case.images))
    patients = len({case.patient for case in cases})
    counts = []
    for name in names:
        count = sum(bool(case.held((name,))) for case in cases)
        counts.append(f"{name} {count}" + (f" ({len(cases) - count} missing)" if count < len(cases) else ""))
    labels = sum(case.has_label() for case in cases)
    whose = f" of {patients} patients" if patients < len(cases) else ""
    number = f"{len(cases)} case{'s' if len(cases) != 1 else ''}{whose}"
    return f"{title}: {number}; {', '.join(counts) or 'no images'}; labels {labels}"
