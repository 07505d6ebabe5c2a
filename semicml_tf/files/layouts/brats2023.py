"""The layout of BraTS since 2023: ``BraTS-GLI-00001-000/BraTS-GLI-00001-000-t2f.nii.gz``, t1n, t1c, t2w, seg.

The last number of a case's name is the time of the study; what stands before it is the patient.
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Sequence

from semicml_tf.files.case import CaseFiles
from semicml_tf.files.layouts import folder as folders
from semicml_tf.files.layouts import summary
from semicml_tf.files.layouts.brats_names import Names
from semicml_tf.files.layouts.options import DEFAULT, LayoutOptions

NAME = "brats2023"
DESCRIPTION = "CASE/CASE-t2f.nii.gz, -t1n, -t1c, -t2w, CASE/CASE-seg.nii.gz (BraTS since 2023)"
_WORDS = {"t1": "t1n", "t1ce": "t1c", "t2": "t2w", "flair": "t2f"}
_TIME = re.compile(r"(.+-\d+)-\d{3}")
_CHALLENGE = re.compile(r"BraTS-([A-Za-z]+)-")


def _patient(case_id: str) -> str:
    timed = _TIME.fullmatch(case_id)
    return timed[1] if timed else case_id


_NAMES = Names(NAME, _WORDS, "-", _patient)


def detect(root: pathlib.Path) -> bool:
    """Whether `root` looks like this layout."""
    return _NAMES.detect(root)


def modalities(root: pathlib.Path) -> tuple[str, ...]:
    """Names of the modalities that there are."""
    return tuple(_WORDS)


def describe(root: pathlib.Path, options: LayoutOptions = DEFAULT) -> str:
    """What was found, in one sentence; raises as `find`."""
    cases = find(root, tuple(_WORDS), options)
    tasks = sorted({task[1] for case in cases if (task := _CHALLENGE.match(case.case_id))})
    return summary.tell(f"BraTS of 2023 or later{''.join(f', {task}' for task in tasks)}", cases)


def oddities(root: pathlib.Path, asked: Sequence[str], options: LayoutOptions = DEFAULT) -> list[summary.Oddity]:
    """The files that no case claims; see `layouts.choose`."""
    return summary.unclaimed(find(root, tuple(_WORDS), options), folders.volumes(_NAMES.places(root)), DESCRIPTION)


def find(root: pathlib.Path, modalities: Sequence[str], options: LayoutOptions = DEFAULT) -> list[CaseFiles]:
    """Lists the cases, sorted by name.

    Args:
        root: folder that holds one folder a case.
        modalities: names to look for: t1, t1ce, t2, flair, or BraTS's t1n, t1c, t2w, t2f.
        options: what the user says of the folder.

    Raises:
        UserError: a modality that this layout does not know; a case or file that is there twice.
    """
    return _NAMES.find(root, modalities, options)
